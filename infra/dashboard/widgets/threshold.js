// A histogram with a line that can be dragged, or moved by the arrow keys; the value is told when it is let go.
export default function ({ data, parentElement, setTriggerValue }) {
  const root = parentElement.querySelector(".histogram");
  const [width, height] = [640, 140];
  const [low, high] = data.range;
  const most = Math.max(1, ...data.bins.map((bin) => bin.count));
  const place = (value) => (width * (Math.min(high, Math.max(low, value)) - low)) / (high - low || 1);
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", `0 -4 ${width} ${height + 8}`);
  svg.setAttribute("preserveAspectRatio", "none");
  const make = (name, attributes) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    svg.append(element);
    return element;
  };
  const bars = data.bins.map((bin) => {
    const tall = Math.max(bin.count ? 1.5 : 0, (height * bin.count) / most);
    const [left, right] = [place(bin.low), place(bin.high)];
    const bar = make("rect", { x: left, y: height - tall, width: Math.max(1, right - left - 0.6), height: tall });
    bar.append(document.createElementNS("http://www.w3.org/2000/svg", "title"));
    bar.firstChild.textContent = `${format(bin.low)} to ${format(bin.high)}: ${bin.count.toLocaleString("en")}`;
    return [bar, (bin.low + bin.high) / 2];
  });
  make("line", { class: "base", x1: 0, x2: width, y1: height, y2: height });
  if (data.recorded !== null) {
    make("line", { class: "recorded", x1: place(data.recorded), x2: place(data.recorded), y1: 0, y2: height });
  }
  const line = data.value === null ? null : make("line", { class: "line", y1: -4, y2: height + 4 });
  const grip = line && make("rect", { class: "grip", y: height / 2 - 18, width: 12, height: 36, rx: 5 });
  let value = data.value;
  const said = parentElement.querySelector(".said");
  const show = () => {
    if (line === null) return;
    const x = place(value);
    line.setAttribute("x1", x);
    line.setAttribute("x2", x);
    grip.setAttribute("x", Math.min(width - 12, Math.max(0, x - 6)));
    svg.setAttribute("aria-valuenow", value);
    svg.setAttribute("aria-valuetext", format(value));
    said.textContent = `${data.relation} ${format(value)}`;
    for (const [bar, middle] of bars) {
      bar.setAttribute("class", (data.relation === "at least" ? middle >= value : middle <= value) ? "keeps" : "drops");
    }
  };
  const tell = () => {
    if (value !== data.value) setTriggerValue("value", value);
  };
  if (line !== null) {
    for (const [key, text] of Object.entries({ tabindex: 0, role: "slider", "aria-label": data.label, "aria-valuemin": low, "aria-valuemax": high }))
      svg.setAttribute(key, text);
    const follow = (event) => {
      const box = svg.getBoundingClientRect();
      const share = Math.min(1, Math.max(0, (event.clientX - box.left) / box.width));
      value = round(low + share * (high - low), (high - low) / 1000);
      show();
    };
    svg.onpointerdown = (event) => {
      if (event.button !== 0) return;
      svg.setPointerCapture(event.pointerId);
      follow(event);
      svg.onpointermove = follow;
    };
    svg.onpointerup = svg.onpointercancel = () => {
      svg.onpointermove = null;
      tell();
    };
    let timer = 0;
    svg.onkeydown = (event) => {
      const steps = { ArrowLeft: -5, ArrowDown: -5, ArrowRight: 5, ArrowUp: 5, PageDown: -50, PageUp: 50 }[event.key];
      if (event.key === "Home") value = low;
      else if (event.key === "End") value = high;
      else if (steps !== undefined) value = round(Math.min(high, Math.max(low, value + (steps * (high - low)) / 1000)), (high - low) / 1000);
      else return;
      event.preventDefault();
      show();
      clearTimeout(timer);
      timer = setTimeout(tell, 300);
    };
  } else {
    for (const [bar] of bars) bar.setAttribute("class", "keeps");
    said.textContent = "";
  }
  root.replaceChildren(svg);
  const ends = parentElement.querySelectorAll(".end");
  ends[0].textContent = format(low);
  ends[1].textContent = format(high);
  show();
}

function round(value, step) {
  const digits = Math.max(0, Math.ceil(-Math.log10(step || 1)));
  return Number(value.toFixed(Math.min(12, digits)));
}

function format(value) {
  return Number(Number(value).toPrecision(4)).toString();
}
