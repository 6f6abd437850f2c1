// The sentence of the first page: a word that is chosen shows its exact attention weights.
for (const demo of document.querySelectorAll(".attention-demo")) {
  const buttons = [...demo.querySelectorAll("button")];
  const words = buttons.map((button) => button.firstChild.data);
  const value = (fraction) => fraction.split("/").reduce((top, bottom) => top / bottom);
  const choose = (chosen) => {
    const weights = chosen.dataset.weights.split(" ");
    buttons.forEach((button, i) => {
      button.setAttribute("aria-pressed", button === chosen);
      button.style.setProperty("--weight", value(weights[i]));
      button.lastChild.textContent = weights[i];
    });
    const largest = Math.max(...weights.map(value));
    const seen = words.filter((_, i) => value(weights[i]) === largest);
    const each = weights.find((weight) => value(weight) === largest);
    demo.querySelector(".answer").textContent =
      `“${chosen.firstChild.data}” looks most at ${seen.map((word) => `“${word}”`).join(" and ")}` +
      ` (${each}${seen.length > 1 ? " each" : ""}). In notebook 02 you compute these weights on paper.`;
  };
  buttons.forEach((button) => button.addEventListener("click", () => choose(button)));
  choose(buttons.find((button) => button.getAttribute("aria-pressed") === "true"));
}
