// Arrow keys go from card to card of a grid. Stands before the scripts of `components` that use it.
function moveByArrows(grid, cards) {
  grid.onkeydown = (event) => {
    const at = cards.indexOf(event.target);
    const columns = getComputedStyle(grid).gridTemplateColumns.split(" ").length;
    const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns }[event.key];
    if (at < 0 || step === undefined || cards[at + step] === undefined) return;
    event.preventDefault();
    cards[at + step].focus();
  };
}
