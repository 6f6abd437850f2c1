// Turns the document into a slide show: arrow keys, N for the notes, the place in the address.
(() => {
  const root = document.documentElement;
  const slides = [...document.querySelectorAll(".slide")];
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const paint = () => { root.dataset.theme = dark.matches ? "dark" : "light"; };
  let at = 0;

  function fit() {
    const high = document.querySelector("main").clientHeight;
    const tall = root.classList.contains("noted") ? 1030 : 720;
    const scale = Math.min(innerWidth / 1280, high / tall);
    const left = Math.max(0, (innerWidth - 1280 * scale) / 2);
    for (const slide of slides) slide.style.transform = `translateX(${left}px) scale(${scale})`;
  }
  function show(number) {
    at = Math.max(0, Math.min(slides.length - 1, number));
    slides.forEach((slide, i) => slide.classList.toggle("on", i === at));
    document.getElementById("place").textContent = `${at + 1} / ${slides.length}`;
    history.replaceState(null, "", `#${slides[at].id || at + 1}`);
  }
  function find() {
    const name = location.hash.slice(1);
    const named = slides.findIndex((slide) => slide.id && slide.id === name);
    show(named >= 0 ? named : (parseInt(name, 10) || 1) - 1);
  }
  function say() {
    const noted = root.classList.toggle("noted");
    document.getElementById("say").setAttribute("aria-pressed", noted);
    fit();
  }

  for (const notes of document.querySelectorAll(".notes")) {
    notes.tabIndex = 0;
    notes.setAttribute("role", "region");
    notes.setAttribute("aria-label", "notes");
  }
  const turn = {
    ArrowRight: 1, PageDown: 1, " ": 1, ArrowLeft: -1, PageUp: -1, Home: -slides.length, End: slides.length,
  };
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === " " && event.target.closest("button, a")) return;
    if (event.key === "n" || event.key === "N") say();
    else if (event.key in turn) { event.preventDefault(); show(at + turn[event.key]); }
  });
  document.getElementById("back").onclick = () => show(at - 1);
  document.getElementById("on").onclick = () => show(at + 1);
  document.getElementById("say").onclick = say;
  addEventListener("resize", fit);
  addEventListener("hashchange", find);
  dark.addEventListener("change", paint);

  root.classList.add("playing");
  paint();
  fit();
  find();
})();
