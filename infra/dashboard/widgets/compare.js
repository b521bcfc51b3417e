// Two pictures on one another with a divider to drag (or the arrow keys), and layers over them to switch on.
export default function ({ data, parentElement }) {
  const stage = parentElement.querySelector(".stage");
  const names = parentElement.querySelectorAll(".caption");
  const switches = parentElement.querySelector(".switches");
  const shown = (stage.shown ??= new Set(data.layers.filter((layer) => layer.on).map((layer) => layer.name)));
  const image = (source, kind, name) => {
    const element = new Image();
    element.src = source;
    element.alt = name;
    element.className = kind;
    return element;
  };
  const parts = [image(data.before.source, "picture", data.before.name)];
  const range = document.createElement("input");
  if (data.after) {
    const after = image(data.after.source, "picture after", data.after.name);
    const divider = document.createElement("span");
    divider.className = "divider";
    range.type = "range";
    range.min = 0;
    range.max = 1000;
    range.value = stage.place ?? 500;
    range.setAttribute("aria-label", `${data.before.name} to the left, ${data.after.name} to the right`);
    const show = () => {
      stage.place = range.value;
      after.style.clipPath = `inset(0 0 0 ${range.value / 10}%)`;
      divider.style.left = `${range.value / 10}%`;
    };
    range.oninput = show;
    show();
    parts.push(after, divider);
  }
  const layers = data.layers.map((layer) => image(layer.source, "picture layer", layer.name));
  parts.push(...layers);
  if (data.after) parts.push(range);
  stage.replaceChildren(...parts);
  stage.style.aspectRatio = data.aspect;
  stage.style.maxWidth = `min(100%, calc(min(75vh, 42rem) * ${data.aspect}))`;
  names[0].textContent = data.before.name;
  names[1].textContent = data.after ? data.after.name : data.missing;
  switches.replaceChildren(
    ...data.layers.map((layer, place) => {
      const label = document.createElement("label");
      const box = document.createElement("input");
      box.type = "checkbox";
      box.checked = shown.has(layer.name);
      const show = () => {
        layers[place].hidden = !box.checked;
        if (box.checked) shown.add(layer.name);
        else shown.delete(layer.name);
      };
      box.onchange = show;
      show();
      label.append(box, ` ${layer.name}`);
      return label;
    }),
  );
}
