"""Temperature, likelihood and calibration error against torch, scipy, scikit-learn and closed forms."""

import math

import pytest
import torch
from scipy.optimize import minimize_scalar
from sklearn.calibration import calibration_curve

from course_lib import calibration
from course_lib.calibration import (
    expected_calibration_error,
    fit_temperature,
    negative_log_likelihood,
    reliability_bins,
    softmax_with_temperature,
)


def normal(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def drawn_from(logits, temperature, seed):
    """Labels drawn from softmax(logits / temperature): this temperature is then the true one."""
    p = torch.softmax(logits / temperature, dim=1)
    return torch.multinomial(p, 1, generator=torch.Generator().manual_seed(seed))[:, 0]


class TestSoftmaxWithTemperature:
    @pytest.mark.parametrize("temperature", [0.3, 1.0, 7.0])
    def test_is_softmax_of_divided_logits(self, temperature):
        logits = normal(0, 2, 5, 3)
        torch.testing.assert_close(
            softmax_with_temperature(logits, temperature), torch.softmax(logits / temperature, dim=-1)
        )

    def test_closed_form(self):
        # odds 9 at temperature 1 are odds 3 at temperature 2
        torch.testing.assert_close(
            softmax_with_temperature(torch.tensor([0.0, math.log(9)]), 2.0), torch.tensor([0.25, 0.75])
        )

    @pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan])
    def test_temperature_must_be_positive(self, temperature):
        with pytest.raises(ValueError, match=f"temperature={temperature} is not positive"):
            softmax_with_temperature(normal(0, 2, 3), temperature)


class TestNegativeLogLikelihood:
    @pytest.mark.parametrize(("batch", "num_labels"), [(1, 2), (7, 3), (11, 5)])
    def test_equals_torch_with_its_gradient(self, batch, num_labels):
        labels = torch.arange(batch) * 2 % num_labels
        ours, theirs = (normal(batch, batch, num_labels).mul(3).requires_grad_() for _ in range(2))
        loss, expected = negative_log_likelihood(ours, labels), torch.nn.functional.cross_entropy(theirs, labels)
        torch.testing.assert_close(loss, expected)
        loss.backward(), expected.backward()
        torch.testing.assert_close(ours.grad, theirs.grad)

    def test_large_logits_stay_finite(self):
        logits = torch.tensor([[1000.0, 0.0], [0.0, -1000.0]])
        assert negative_log_likelihood(logits, torch.tensor([1, 0])).item() == 500.0

    def test_uniform_is_log_of_the_number_of_labels(self):
        assert negative_log_likelihood(torch.zeros(3, 7), torch.tensor([0, 6, 2])).item() == pytest.approx(math.log(7))

    @pytest.mark.parametrize(
        ("logits", "labels", "message"),
        [
            (torch.zeros(3, 2), torch.tensor([0, 1]), r"logits \(3, 2\) must be .* labels \(2,\)"),
            (torch.zeros(3), torch.tensor([0, 1, 1]), r"logits \(3,\)"),
            (torch.zeros(0, 2), torch.zeros(0, dtype=torch.long), r"logits \(0, 2\)"),
            (torch.zeros(1, 2), torch.tensor([2]), "from 0 to 1"),
            (torch.zeros(1, 2), torch.tensor([-100]), "from 0 to 1"),
            (torch.zeros(1, 2), torch.tensor([1.0]), "class numbers"),
        ],
    )
    def test_bad_input(self, logits, labels, message):
        with pytest.raises(ValueError, match=message):
            negative_log_likelihood(logits, labels)


def answers(seed, n):
    """Confidences between 0 and 1, and whether answers of them are right, biased to overconfidence."""
    confidence = torch.rand(n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    chance = torch.rand(n, generator=torch.Generator().manual_seed(seed + 1), dtype=torch.float64)
    return confidence, chance < confidence**2


class TestReliability:
    @pytest.mark.parametrize(("n", "num_bins"), [(13, 7), (101, 10), (997, 5), (5, 1)])
    def test_equals_scikit_learn(self, n, num_bins):
        confidence, correct = answers(n, n)
        bins = reliability_bins(confidence, correct, num_bins)
        filled = bins.counts > 0
        accuracy, mean_confidence = calibration_curve(correct.numpy(), confidence.numpy(), n_bins=num_bins)
        torch.testing.assert_close(bins.accuracy[filled], torch.from_numpy(accuracy))
        torch.testing.assert_close(bins.confidence[filled], torch.from_numpy(mean_confidence))
        assert bins.counts.sum() == n and len(bins.edges) == num_bins + 1
        assert bins.accuracy[~filled].isnan().all() and bins.confidence[~filled].isnan().all()

    def test_both_ends_belong_to_a_bin(self):
        bins = reliability_bins(torch.tensor([0.0, 0.5, 1.0]), torch.tensor([True, False, True]), 4)
        assert bins.counts.tolist() == [1, 1, 0, 1]

    @pytest.mark.parametrize(("n", "num_bins"), [(13, 7), (101, 10), (997, 3)])
    def test_error_equals_a_sum_over_loops(self, n, num_bins):
        confidence, correct = answers(n, n)
        expected = 0.0
        for index in range(num_bins):
            low, high = index / num_bins, (index + 1) / num_bins
            inside = [i for i in range(n) if low < confidence[i] <= high]
            if inside:
                gap = sum(float(confidence[i]) - bool(correct[i]) for i in inside) / len(inside)
                expected += len(inside) / n * abs(gap)
        assert expected_calibration_error(confidence, correct, num_bins).item() == pytest.approx(expected, abs=1e-12)

    def test_error_in_closed_form(self):
        # Two answers in five right at confidence 0.9, and one bin: |0.4 - 0.9|
        correct = torch.tensor([True, True, False, False, False])
        assert expected_calibration_error(torch.full((5,), 0.9), correct).item() == pytest.approx(0.5, abs=1e-7)
        assert expected_calibration_error(torch.ones(5), torch.ones(5, dtype=torch.bool)).item() == 0

    def test_error_of_calibrated_answers_is_small(self):
        confidence, _ = answers(3, 200_000)
        correct = torch.rand(len(confidence), generator=torch.Generator().manual_seed(9)) < confidence
        assert expected_calibration_error(confidence, correct) < 0.01

    @pytest.mark.parametrize(
        ("confidence", "correct", "num_bins", "message"),
        [
            (torch.rand(3), torch.ones(2, dtype=torch.bool), 10, "equal length"),
            (torch.rand(3, 2), torch.ones(3, 2, dtype=torch.bool), 10, "one axis"),
            (torch.rand(0), torch.ones(0, dtype=torch.bool), 10, "one axis"),
            (torch.rand(3), torch.ones(3, dtype=torch.bool), 0, "num_bins=0"),
            (torch.tensor([1.5]), torch.tensor([True]), 10, "not logits"),
            (torch.tensor([torch.nan]), torch.tensor([True]), 10, "not logits"),
        ],
    )
    def test_bad_input(self, confidence, correct, num_bins, message):
        with pytest.raises(ValueError, match=message):
            expected_calibration_error(confidence, correct, num_bins)


class TestFitTemperature:
    @pytest.mark.parametrize(("seed", "num_labels", "true"), [(0, 2, 4.0), (1, 3, 0.4), (2, 5, 1.0)])
    def test_equals_scipy(self, seed, num_labels, true):
        logits = 2 * normal(seed, 211, num_labels)
        labels = drawn_from(logits, true, seed)

        def loss(log_temperature):
            return float(torch.nn.functional.cross_entropy(logits / math.exp(log_temperature), labels))

        expected = math.exp(minimize_scalar(loss, bounds=(-5, 5), method="bounded", options={"xatol": 1e-9}).x)
        assert fit_temperature(logits, labels) == pytest.approx(expected, rel=1e-5)

    def test_equals_a_torch_optimiser(self):
        logits = 3 * normal(7, 307, 3)
        labels = drawn_from(logits, 2.5, 7)
        log_temperature = torch.zeros((), dtype=torch.float64, requires_grad=True)
        optimiser = torch.optim.LBFGS([log_temperature], max_iter=100, line_search_fn="strong_wolfe")

        def closure():
            optimiser.zero_grad()
            loss = torch.nn.functional.cross_entropy(logits / log_temperature.exp(), labels)
            loss.backward()
            return loss

        optimiser.step(closure)
        assert fit_temperature(logits, labels) == pytest.approx(log_temperature.exp().item(), rel=1e-4)

    def test_finds_the_temperature_that_made_the_labels(self):
        logits = 2 * normal(11, 20_011, 3)
        assert fit_temperature(logits, drawn_from(logits, 3.0, 1)) == pytest.approx(3.0, rel=0.1)

    def test_scaling_the_logits_scales_it(self):
        logits = normal(5, 97, 2)
        labels = drawn_from(logits, 0.5, 5)
        assert fit_temperature(logits * 7, labels) == pytest.approx(7 * fit_temperature(logits, labels))

    def test_lowers_the_error_of_overconfident_answers(self):
        logits = 4 * normal(13, 5003, 2)
        labels = drawn_from(logits, 4.0, 3)
        errors = [
            expected_calibration_error(p.amax(1), p.argmax(1) == labels)
            for p in (
                softmax_with_temperature(logits),
                softmax_with_temperature(logits, fit_temperature(logits, labels)),
            )
        ]
        assert errors[0] > 0.15 and errors[1] < 0.05

    def test_nothing_to_find(self):
        logits = normal(3, 53, 3)
        with pytest.raises(ValueError, match="every answer is right"):
            fit_temperature(logits, logits.argmax(1))
        with pytest.raises(ValueError, match="tell nothing"):
            fit_temperature(logits, logits.argmin(1))

    def test_needs_labels_of_its_logits(self):
        with pytest.raises(ValueError, match="from 0 to 2"):
            fit_temperature(normal(3, 2, 3), torch.tensor([0, 3]))

    def test_limits_are_named(self):
        assert calibration.LOWEST_TEMPERATURE < 1 < calibration.HIGHEST_TEMPERATURE
