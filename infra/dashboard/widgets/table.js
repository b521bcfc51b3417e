// A table of texts; a cell may be an interval, which is drawn. Rows that can be picked answer to click and Enter.
export default function ({ data, parentElement, setTriggerValue }) {
  const table = parentElement.querySelector("table");
  const cell = (kind, text) => {
    const element = document.createElement(kind);
    // Names may break after a slash or an underscore; nothing is added to what they say.
    const [first, ...rest] = String(text).match(/[^_/]+[_/]*|[_/]+/g) ?? [""];
    element.append(first);
    for (const part of rest) element.append(document.createElement("wbr"), part);
    return element;
  };
  const head = document.createElement("tr");
  for (const column of data.columns) {
    const element = cell("th", column.name);
    element.className = column.kind;
    if (column.help) element.title = column.help;
    head.append(element);
  }
  const body = data.rows.map((row, place) => {
    const line = document.createElement("tr");
    row.forEach((value, index) => {
      const column = data.columns[index];
      const element = cell("td", column.kind === "interval" ? "" : (value ?? ""));
      element.className = column.kind;
      element.dataset.column = column.name;
      if (column.kind === "interval" && value !== null) element.append(drawn(value));
      line.append(element);
    });
    if (data.picks) {
      line.tabIndex = 0;
      line.className = "pick" + (data.picks[place] === data.chosen ? " chosen" : "");
      line.onclick = () => setTriggerValue("pick", data.picks[place]);
      line.onkeydown = (event) => {
        if (event.key === "Enter" || event.key === " ") {
          event.preventDefault();
          setTriggerValue("pick", data.picks[place]);
        }
      };
    }
    return line;
  });
  const [thead, tbody] = [document.createElement("thead"), document.createElement("tbody")];
  thead.append(head);
  tbody.append(...body);
  table.replaceChildren(thead, tbody);
  hintAtMore(parentElement.querySelector(".scroll"), parentElement.querySelector(".hint"));
}

// While columns lie beyond an edge, the table fades there and can be focused, so that the arrow keys scroll it.
function hintAtMore(scroll, hint) {
  const look = () => {
    const hidden = scroll.scrollWidth - scroll.clientWidth;
    const isWide = hidden > 1;
    hint.hidden = !isWide;
    scroll.classList.toggle("before", isWide && scroll.scrollLeft > 1);
    scroll.classList.toggle("after", isWide && scroll.scrollLeft < hidden - 1);
    if (isWide) scroll.tabIndex = 0;
    else scroll.removeAttribute("tabindex");
    for (const [name, value] of [["role", "region"], ["aria-label", "table, scrolls sideways"]]) {
      if (isWide) scroll.setAttribute(name, value);
      else scroll.removeAttribute(name);
    }
  };
  scroll.onscroll = look;
  scroll.sizes?.disconnect();
  scroll.sizes = new ResizeObserver(look);
  scroll.sizes.observe(scroll);
  scroll.sizes.observe(scroll.firstElementChild);
  look();
}

// Marks on a common scale: intervals as lines with a dot, single values as ticks.
function drawn({ scale, marks }) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", `0 0 200 ${12 * marks.length}`);
  svg.setAttribute("width", "200");
  svg.setAttribute("height", `${12 * marks.length}`);
  const place = (value) => 4 + (192 * (value - scale[0])) / (scale[1] - scale[0] || 1);
  marks.forEach((mark, index) => {
    const y = 12 * index + 6;
    const add = (name, attributes) => {
      const element = document.createElementNS("http://www.w3.org/2000/svg", name);
      for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
      element.setAttribute("class", mark.kind);
      const title = document.createElementNS("http://www.w3.org/2000/svg", "title");
      title.textContent = mark.title;
      element.append(title);
      svg.append(element);
    };
    if (mark.low !== null && mark.low !== undefined) add("line", { x1: place(mark.low), x2: place(mark.high), y1: y, y2: y });
    if (mark.kind === "paper") add("rect", { x: place(mark.value) - 1.5, y: y - 5, width: 3, height: 10 });
    else add("circle", { cx: place(mark.value), cy: y, r: 3.5 });
  });
  return svg;
}
