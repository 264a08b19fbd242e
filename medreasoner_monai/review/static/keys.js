// What each key does. Letters count where nothing is being typed.

export const SHORTCUTS = [
  [["A", "E", "R"], "Accept, edit or reject the part that is marked"],
  [["1", "2", "3"], "Mark the question, the mask, the reasoning"],
  [["Shift A"], "Accept what is left, and go on"],
  [["Enter", "N"], "Next sample"],
  [["P"], "Previous sample"],
  [["U"], "Take the latest verdict back"],
  [["C"], "Comment on the part judged last (Esc leaves a text field)"],
  [["V", "W"], "Move the picture; change its window (drag up and down: level, sideways: width)"],
  [["B", "X"], "Brush, erase"],
  [["[", "]"], "Smaller, larger brush"],
  [["Ctrl Z"], "Take a stroke back"],
  [["D"], "Box: drag a new one or its corners; arrows move it, Shift and arrows resize it"],
  [["G", "K"], "Segment in the box; keep only what is inside it"],
  [[",", "."], "Mask less, more opaque"],
  [["M"], "Hide and show the mask"],
  [["+", "−", "F"], "Zoom in, out, fit (also the wheel)"],
  [["?"], "This list"],
];

export function listen(act) {
  const keys = {
    a: act.accept, e: act.edit, r: act.reject, n: act.next, p: act.previous, u: act.undo, c: act.comment,
    v: () => act.pick("pan"), w: () => act.pick("window"), b: () => act.pick("brush"), x: () => act.pick("erase"),
    d: () => act.pick("box"), g: act.segment, k: act.crop, f: act.fit, m: act.hide,
    "1": () => act.focus(0), "2": () => act.focus(1), "3": () => act.focus(2),
    "[": () => act.size(-4), "]": () => act.size(4), ",": () => act.opacity(-0.1), ".": () => act.opacity(0.1),
    "+": () => act.zoom(1.25), "=": () => act.zoom(1.25), "-": () => act.zoom(0.8), "?": act.help,
  };
  const arrows = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]};
  document.addEventListener("keydown", event => {
    if (document.querySelector("dialog[open]")) return;
    const typing = event.target.matches("textarea, input[type=text]");
    if (event.key === "Escape" && typing) event.target.blur();
    if (typing || event.altKey || event.isComposing) return;
    let done;
    if (event.ctrlKey || event.metaKey) {
      if (event.key.toLowerCase() !== "z") return;
      done = act.undoStroke;
    } else if (event.key in arrows && !event.target.matches("input")) {
      done = () => act.nudge(...arrows[event.key], event.shiftKey);
    } else if (event.key === "Enter" && !event.target.matches("button")) {
      done = act.next;
    } else if (event.key === "A" && event.shiftKey) {
      done = act.acceptRest;
    } else {
      done = keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    }
    if (!done) return;
    event.preventDefault();
    event.stopPropagation();
    done();
  }, {capture: true});
}
