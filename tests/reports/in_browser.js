// Looks at pages in frames of several widths and writes what it sees into the document, as JSON. Needs PAGES and WIDTHS.
const wait = (ms) => new Promise((done) => setTimeout(done, ms));
const round = (number) => Math.round(number * 100) / 100;

function colour(text) {
  const [r, g, b, alpha = 1] = text.match(/[\d.]+%?/g).map((part) => (part.endsWith("%") ? parseFloat(part) / 100 : Number(part)));
  return { rgb: [r, g, b], alpha };
}

function over(front, back) {
  return front.rgb.map((value, place) => value * front.alpha + back[place] * (1 - front.alpha));
}

function luminance(rgb) {
  const [r, g, b] = rgb.map((value) => (value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

// The contrast of an element's text with what is behind it (WCAG 2.2, 1.4.3).
function contrast(view, element) {
  const behind = [];
  for (let one = element; one; one = one.parentElement) behind.unshift(colour(view.getComputedStyle(one).backgroundColor));
  const back = behind.reduce((below, front) => over(front, below), [255, 255, 255]);
  const style = view.getComputedStyle(element);
  const ink = element.ownerSVGElement ? style.fill : style.color;
  const [light, dark] = [luminance(over(colour(ink), back)), luminance(back)].sort((a, b) => b - a);
  return (light + 0.05) / (dark + 0.05);
}

function texts(document) {
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const found = [];
  while (walker.nextNode()) {
    const { parentElement: element, data } = walker.currentNode;
    if (data.trim() && !["SCRIPT", "STYLE"].includes(element.tagName) && element.getClientRects().length) found.push(walker.currentNode);
  }
  return found;
}

// Keys and numbers that do not stand in one line.
function broken(document, nodes) {
  const found = [];
  for (const node of nodes) {
    for (const match of node.data.matchAll(/[a-z0-9_]+([./][a-z0-9_]+)+|-?\d[\d.,]*(e[+-]?\d+)?/g)) {
      const range = document.createRange();
      range.setStart(node, match.index);
      range.setEnd(node, match.index + match[0].length);
      const tops = [...range.getClientRects()].map((rect) => Math.round(rect.top));
      if (new Set(tops).size > 1) found.push(match[0]);
    }
  }
  return found;
}

// Points with the mouse at every dot that is drawn, and presses keys: what the crosshair says, and how far it is off.
function pointed(view, plot) {
  const words = plot.querySelector(".values");
  const said = () => (view.getComputedStyle(words).display === "none" ? null : [...words.children].map((one) => one.textContent));
  const dots = [...plot.querySelectorAll("use")].filter((one) => one.getAttribute("style").includes("fill: var(--line"));
  const moves = dots.map((dot) => {
    const box = dot.getBoundingClientRect();
    const x = (box.left + box.right) / 2;
    plot.dispatchEvent(new view.PointerEvent("pointermove", { clientX: x, clientY: box.top, pointerType: "mouse" }));
    const cross = plot.querySelector(".cross").getBoundingClientRect();
    return { said: said(), off: round(Math.abs(cross.left - x)) };
  });
  const press = (key) => {
    plot.dispatchEvent(new view.KeyboardEvent("keydown", { key, cancelable: true }));
    return said();
  };
  const keys = ["End", "ArrowLeft", "Home", "ArrowLeft", "Escape"].map(press);
  plot.dispatchEvent(new view.PointerEvent("pointerdown", { clientX: 0, pointerType: "touch" }));
  plot.dispatchEvent(new view.PointerEvent("pointerleave", { pointerType: "touch" }));
  const touched = said();
  plot.dispatchEvent(new view.PointerEvent("pointerleave", { pointerType: "mouse" }));
  return { title: plot.querySelector("svg").getAttribute("aria-label"), moves, keys, touched, left: said() };
}

async function look(page, width) {
  const frame = document.createElement("iframe");
  Object.assign(frame.style, { width: `${width}px`, height: "800px", border: 0 });
  frame.src = page;
  document.body.append(frame);
  await new Promise((done) => frame.addEventListener("load", done));
  const [view, inside] = [frame.contentWindow, frame.contentDocument];
  for (const part of inside.querySelectorAll("details")) part.open = true;
  view.dispatchEvent(new view.Event("resize"));
  await wait(20);
  const nodes = texts(inside);
  const elements = [...new Set(nodes.map((node) => node.parentElement))];
  const wide = [...inside.querySelectorAll(".wide")].map((box) => ({
    cut: box.scrollWidth > box.clientWidth + 1,
    says: view.getComputedStyle(box, "::before").content.includes("Scroll sideways"),
    scrolls: view.getComputedStyle(box).overflowX === "auto" && (box.tabIndex === 0),
  }));
  const seen = {
    width: view.innerWidth,
    dark: view.matchMedia("(prefers-color-scheme: dark)").matches,
    scrollWidth: inside.scrollingElement.scrollWidth,
    fetched: view.performance.getEntriesByType("resource").map((one) => one.name).filter((name) => !name.startsWith("data:")),
    texts: elements.map((one) => [round(contrast(view, one)), one.tagName, one.textContent.trim().slice(0, 40)]),
    broken: broken(inside, nodes),
    wide,
    pointed: [...inside.querySelectorAll(".plot[data-values]")].map((plot) => pointed(view, plot)),
  };
  frame.remove();
  return seen;
}

(async () => {
  const seen = {};
  for (const page of PAGES) {
    seen[page] = [];
    for (const width of WIDTHS) seen[page].push(await look(page, width));
  }
  const result = Object.assign(document.createElement("pre"), { id: "seen", textContent: JSON.stringify(seen) });
  document.body.replaceChildren(result);
})();
