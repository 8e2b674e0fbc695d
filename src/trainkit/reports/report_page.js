// Values to point at: a crosshair over all curves of a group with the same axis, at the point nearest to the pointer, the
// finger, or where the arrow keys have moved it. Without it the page is whole.
for (const group of document.querySelectorAll(".charts")) {
  const plots = [...group.querySelectorAll(".plot[data-values]")].map((plot) => {
    const add = (name) => plot.appendChild(Object.assign(document.createElement("div"), { className: name }));
    const told = JSON.parse(plot.dataset.values);
    const [scale, unscale] = told.log ? [Math.log, Math.exp] : [Number, Number];
    const from = scale(told.from);
    const range = scale(told.to) - from;
    return {
      ...told, plot, line: add("cross"), words: add("values"),
      share: (x) => (scale(x) - from) / range,
      x: (share) => unscale(from + share * range),
      all: [...new Set(told.lines.flatMap((line) => line.x))].sort((a, b) => a - b),
    };
  });
  const hide = () => plots.forEach(({ plot }) => plot.classList.remove("pointed"));
  const show = (label, x) => {
    hide();
    for (const one of plots.filter(({ xlabel }) => xlabel === label)) {
      const nearest = (places) =>
        places.reduce((best, place) => (Math.abs(one.share(place) - one.share(x)) < Math.abs(one.share(best) - one.share(x)) ? place : best));
      const at = (one.at = nearest(one.all));
      Object.assign(one.line.style, { left: `${one.left + one.width * one.share(at)}%`, top: `${one.top}%`, height: `${one.height}%` });
      const said = (place) => one.ticks[place] ?? place;
      const texts = [`${one.xlabel}: ${said(at)}`];
      for (const line of one.lines) {
        const place = nearest(line.x);
        if (one.scattered && place !== at) continue;
        const near = Math.abs(one.share(place) - one.share(at)) < 0.01;
        const value = line.y[line.x.indexOf(place)];
        texts.push(value ? `${line.name}: ${value}${near ? "" : ` (at ${said(place)})`}` : line.name);
      }
      one.words.replaceChildren(...texts.map((text) => Object.assign(document.createElement("span"), { textContent: text })));
      one.plot.classList.add("pointed");
    }
  };
  for (const one of plots) {
    const { plot, xlabel, all } = one;
    const point = (event) => {
      const box = plot.getBoundingClientRect();
      show(xlabel, one.x((((event.clientX - box.left) / box.width) * 100 - one.left) / one.width));
    };
    const step = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity };
    plot.tabIndex = 0;
    plot.role = "group";
    plot.ariaLabel = "Values by arrow keys";
    one.words.role = "status";
    plot.addEventListener("pointermove", point);
    plot.addEventListener("pointerdown", point);
    plot.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && hide());
    plot.addEventListener("focus", () => plot.matches(":focus-visible") && show(xlabel, one.at ?? all.at(-1)));
    plot.addEventListener("blur", hide);
    plot.addEventListener("keydown", (event) => {
      if (event.key === "Escape") hide();
      if (!(event.key in step)) return;
      event.preventDefault();
      const next = all.indexOf(one.at ?? all.at(-1)) + step[event.key];
      show(xlabel, all[Math.max(0, Math.min(all.length - 1, next))]);
    });
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
