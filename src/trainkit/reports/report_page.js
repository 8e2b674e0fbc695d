// Values on hover: a crosshair over all curves of a group, at the point nearest to the pointer. Without it the page is whole.
for (const group of document.querySelectorAll(".charts")) {
  const plots = [...group.querySelectorAll(".plot[data-values]")].map((plot) => {
    const add = (name) => plot.appendChild(Object.assign(document.createElement("div"), { className: name }));
    return { plot, line: add("cross"), words: add("values"), ...JSON.parse(plot.dataset.values) };
  });
  const nearest = (places, x) =>
    places.reduce((best, place, at) => (Math.abs(place - x) < Math.abs(places[best] - x) ? at : best), 0);
  const hide = () => plots.forEach(({ plot }) => plot.classList.remove("pointed"));
  const show = (x) => {
    for (const { plot, line, words, xlabel, left, top, width, height, from, to, lines } of plots) {
      const found = lines.map((one) => [one, nearest(one.x, x)]);
      const at = found.map(([one, i]) => one.x[i]).reduce((a, b) => (Math.abs(b - x) < Math.abs(a - x) ? b : a));
      const place = left + width * ((at - from) / (to - from));
      Object.assign(line.style, { left: `${place}%`, top: `${top}%`, height: `${height}%` });
      const each = found.map(([one, i]) => `${one.name} ${one.y[i]}` + (one.x[i] === at ? "" : ` (at ${one.x[i]})`));
      const spans = [`${xlabel} ${at}`, ...each].map((text) => Object.assign(document.createElement("span"), { textContent: text }));
      words.replaceChildren(...spans);
      plot.classList.add("pointed");
    }
  };
  for (const { plot, left, width, from, to } of plots) {
    plot.addEventListener("pointermove", (event) => {
      const box = plot.getBoundingClientRect();
      show(from + (((event.clientX - box.left) / box.width) * 100 - left) / width * (to - from));
    });
    plot.addEventListener("pointerleave", hide);
  }
}
// What does not fit says so.
const measure = () => {
  for (const box of document.querySelectorAll(".wide")) {
    box.classList.toggle("cut", box.scrollWidth > box.clientWidth + 1);
    box.tabIndex = box.scrollWidth > box.clientWidth + 1 ? 0 : -1;
  }
};
addEventListener("resize", measure);
measure();
