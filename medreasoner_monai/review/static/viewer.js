// NiiVue with one picture and one mask. Pixels are counted as the data set counts them: column x from the left, row y
// from the top; a box's right and lower edges lie behind its last pixel. NiiVue stores rows from the bottom.

const {Niivue, SLICE_TYPE, cmapper} = window.niivue;
const SVG = "http://www.w3.org/2000/svg";
const MASK = {R: [0, 40], G: [0, 200], B: [0, 255], A: [0, 255], labels: ["", "mask"]};
const MAX_ZOOM = 32;

export class Viewer {
  // `changed()` is called when a stroke, an undo or an action has changed the mask, `moved()` when zoom or window did.
  constructor(stage, {changed, moved}) {
    this.stage = stage;
    this.canvas = stage.querySelector("canvas");
    this.overlay = stage.querySelector("svg");
    this.changed = changed;
    this.moved = moved;
    this.tool = "pan";
    this.drawn = null;
    this.level = 128;
    this.width = 256;
    this.nv = new Niivue({
      show3Dcrosshair: false, isColorbar: false, isOrientCube: false, crosshairWidth: 0, dragAndDropEnabled: false,
      isOrientationTextVisible: false, isRadiologicalConvention: false, backColor: [0, 0, 0, 1], logLevel: "error",
      maxDrawUndoBitmaps: 24, isSliceMM: false, doubleTouchTimeout: 0, longTouchTimeout: 1e9,
    });
  }

  async start() {
    await this.nv.attachToCanvas(this.canvas);
    this.nv.setSliceType(SLICE_TYPE.AXIAL);
    this.nv.drawLut = cmapper.makeDrawLut(MASK);
    this.nv.onDrawingChanged = action => { if (action !== "load") { this.refresh(); this.changed(); } };
    this.canvas.removeAttribute("tabindex");
    new ResizeObserver(() => requestAnimationFrame(() => this.refresh())).observe(this.stage);
    this.stage.addEventListener("wheel", event => this.wheel(event), {capture: true, passive: false});
    for (const kind of ["contextmenu", "dblclick"]) {
      this.stage.addEventListener(kind, event => { event.preventDefault(); event.stopPropagation(); }, {capture: true});
    }
    // Of the mouse's buttons the first draws; the others would window by NiiVue's own rules.
    this.stage.addEventListener("mousedown", event => { if (event.button) event.stopPropagation(); }, {capture: true});
    this.overlay.addEventListener("pointerdown", event => this.press(event));
  }

  async open(url, rows, columns, runs) {
    [this.rows, this.columns, this.drawn] = [rows, columns, null];
    await this.nv.loadVolumes([{url, name: "picture.png", cal_min: 0, cal_max: 255}]);
    const [volume] = this.nv.volumes;
    this.stored = volume.hdr.datatypeCode === 2 ? null : volume.img.slice();  // colour is windowed by hand
    this.nv.createEmptyDrawing();
    this.setMask(runs);
    this.setWindow(128, 256);
    this.fit();
  }

  // ---- the mask

  setMask(runs, {undoable = false} = {}) {
    const bitmap = new Uint8Array(this.rows * this.columns);
    let at = 0;
    runs.forEach((length, n) => {
      for (let end = at + length; at < end; at++) {
        if (n % 2) bitmap[(this.rows - 1 - Math.floor(at / this.columns)) * this.columns + at % this.columns] = 1;
      }
    });
    this.nv.drawBitmap = bitmap;
    if (!undoable) this.nv.drawClearAllUndoBitmaps();
    this.nv.drawAddUndoBitmap();
    this.nv.refreshDrawing(true, false);
    this.refresh();
  }

  runs() {
    const runs = [0];
    let value = 0;
    for (let row = this.rows - 1; row >= 0; row--) {
      for (let at = row * this.columns, end = at + this.columns; at < end; at++) {
        const next = this.nv.drawBitmap[at] ? 1 : 0;
        if (next !== value) { runs.push(0); value = next; }
        runs[runs.length - 1]++;
      }
    }
    return runs;
  }

  box() {
    let [left, top, right, bottom] = [this.columns, this.rows, 0, 0];
    const bitmap = this.nv.drawBitmap;
    for (let row = 0; row < this.rows; row++) {
      for (let column = 0; column < this.columns; column++) {
        if (!bitmap[(this.rows - 1 - row) * this.columns + column]) continue;
        left = Math.min(left, column); right = Math.max(right, column + 1);
        top = Math.min(top, row); bottom = row + 1;
      }
    }
    return right ? [left, top, right, bottom] : null;
  }

  crop([left, top, right, bottom]) {
    for (let at = 0; at < this.nv.drawBitmap.length; at++) {
      const [column, row] = [at % this.columns, this.rows - 1 - Math.floor(at / this.columns)];
      if (column < left || column >= right || row < top || row >= bottom) this.nv.drawBitmap[at] = 0;
    }
    this.nv.drawAddUndoBitmap();
    this.nv.refreshDrawing(true, false);
    this.refresh();
    this.changed();
  }

  undo() {
    this.nv.drawUndo();
  }

  setOpacity(value) {
    this.nv.setDrawOpacity(value);
  }

  setBrush(size) {
    this.nv.opts.penSize = size;
  }

  setTool(name) {
    this.tool = name;
    const draws = name === "brush" || name === "erase";
    this.nv.setDrawingEnabled(draws);
    if (draws) this.nv.setPenValue(name === "brush" ? 1 : 0, false);
    this.overlay.classList.toggle("through", draws);
    this.overlay.style.cursor = {pan: "grab", window: "ns-resize", box: "crosshair"}[name] || "";
    this.canvas.style.cursor = draws ? "crosshair" : "";
    this.drawn = name === "box" ? this.box() : null;
    this.refresh();
  }

  // ---- window, zoom and place

  setWindow(level, width) {
    [this.level, this.width] = [Math.min(Math.max(level, 0), 255), Math.min(Math.max(width, 2), 510)];
    const [low, high] = [this.level - this.width / 2, this.level + this.width / 2];
    const [volume] = this.nv.volumes;
    if (this.stored) {
      const table = Uint8ClampedArray.from({length: 256}, (_, value) => (value - low) / (high - low) * 255);
      for (let at = 0; at < volume.img.length; at++) volume.img[at] = at % 4 === 3 ? 255 : table[this.stored[at]];
    } else {
      [volume.cal_min, volume.cal_max] = [low, high];
    }
    this.nv.updateGLVolume();
    this.refresh();
  }

  get zoom() {
    return this.nv.scene.pan2Dxyzmm[3];
  }

  // Where the picture lies on the stage, in CSS pixels, parts that are off the stage included.
  place() {
    const {width, height} = this.canvas;
    if (!this.nv.screenSlices.length || !width || !height) return null;
    const at = (x, y) => this.nv.screenXY2TextureFrac(x, y, 0, false);
    const [a, b] = [at(0, 0), at(width, height)];  // fractions of the picture, from its left and from its bottom
    const [across, down] = [b[0] - a[0], a[1] - b[1]];
    const scale = this.canvas.clientWidth / width;
    return {
      left: -a[0] / across * width * scale, top: (a[1] - 1) / down * height * scale,
      width: width / across * scale, height: height / down * scale,
    };
  }

  fit() {
    this.nv.setPan2Dxyzmm([0, 0, 0, 1]);
    this.refresh();
  }

  zoomBy(factor, at = null) {
    const before = this.place();
    if (!before) return;
    const [x, y] = at || [this.stage.clientWidth / 2, this.stage.clientHeight / 2];
    const pan = [...this.nv.scene.pan2Dxyzmm];
    pan[3] = Math.min(Math.max(pan[3] * factor, 0.5), MAX_ZOOM);
    this.nv.setPan2Dxyzmm(pan);
    this.nv.drawScene();
    const after = this.place();
    this.panBy(
      x - (after.left + (x - before.left) / before.width * after.width),
      y - (after.top + (y - before.top) / before.height * after.height),
    );
  }

  panBy(dx, dy) {
    const place = this.place();
    const pan = [...this.nv.scene.pan2Dxyzmm];
    const scale = place.width / this.columns / pan[3];  // NiiVue moves by millimetres, and then zooms
    this.nv.setPan2Dxyzmm([pan[0] + dx / scale, pan[1] - dy / scale, pan[2], pan[3]]);
    this.refresh();
  }

  wheel(event) {
    event.preventDefault();
    event.stopPropagation();
    const {left, top} = this.stage.getBoundingClientRect();
    this.zoomBy(event.deltaY < 0 ? 1.2 : 1 / 1.2, [event.clientX - left, event.clientY - top]);
  }

  // ---- moving, windowing and boxes with the pointer

  pixel(event) {
    const {left, top} = this.stage.getBoundingClientRect();
    const place = this.place();
    const at = (value, from, size, pixels) => Math.min(Math.max((value - from) / size * pixels, 0), pixels);
    return [
      at(event.clientX - left, place.left, place.width, this.columns),
      at(event.clientY - top, place.top, place.height, this.rows),
    ];
  }

  press(event) {
    if (event.button) return;
    event.preventDefault();
    this.overlay.setPointerCapture(event.pointerId);
    const [level, width] = [this.level, this.width];
    const corner = event.target.dataset.corner;
    const start = this.pixel(event);
    const fixed = corner === undefined ? start : [this.drawn[corner & 1 ? 0 : 2], this.drawn[corner & 2 ? 1 : 3]];
    let last = [event.clientX, event.clientY];
    const move = now => {
      const [dx, dy] = [now.clientX - last[0], now.clientY - last[1]];
      if (this.tool === "pan") {
        last = [now.clientX, now.clientY];
        this.panBy(dx, dy);
      } else if (this.tool === "window") {
        this.setWindow(level - dy / 2, width + dx);
      } else {
        const [x, y] = this.pixel(now);
        const box = [Math.min(x, fixed[0]), Math.min(y, fixed[1]), Math.max(x, fixed[0]), Math.max(y, fixed[1])].map(Math.round);
        if (box[2] - box[0] > 1 && box[3] - box[1] > 1) { this.drawn = box; this.refresh(); }
      }
    };
    const end = () => {
      this.overlay.removeEventListener("pointermove", move);
      for (const kind of ["pointerup", "pointercancel"]) this.overlay.removeEventListener(kind, end);
    };
    this.overlay.addEventListener("pointermove", move);
    for (const kind of ["pointerup", "pointercancel"]) this.overlay.addEventListener(kind, end);
  }

  // Moves an edge of the drawn box: what the pointer does, by keyboard.
  nudge(dx, dy, grow) {
    if (!this.drawn) return;
    const [x1, y1, x2, y2] = this.drawn;
    const box = grow ? [x1, y1, x2 + dx, y2 + dy] : [x1 + dx, y1 + dy, x2 + dx, y2 + dy];
    if (box[0] < 0 || box[1] < 0 || box[2] > this.columns || box[3] > this.rows || box[2] - box[0] < 2 || box[3] - box[1] < 2) return;
    this.drawn = box;
    this.refresh();
  }

  refresh() {
    if (!this.nv.volumes.length) return;
    this.nv.drawScene();
    const place = this.place();
    if (!place) return;
    const shape = (element, box) => {
      element.toggleAttribute("hidden", !box);
      element.style.display = box ? "" : "none";
      if (!box) return;
      const [sx, sy] = [place.width / this.columns, place.height / this.rows];
      element.setAttribute("x", place.left + box[0] * sx);
      element.setAttribute("y", place.top + box[1] * sy);
      element.setAttribute("width", (box[2] - box[0]) * sx);
      element.setAttribute("height", (box[3] - box[1]) * sy);
    };
    shape(this.overlay.querySelector("#derived"), this.box());
    shape(this.overlay.querySelector("#drawn"), this.drawn);
    const handles = [];
    for (let corner = 0; this.drawn && corner < 4; corner++) {
      const handle = document.createElementNS(SVG, "circle");
      const [x, y] = [this.drawn[corner & 1 ? 2 : 0], this.drawn[corner & 2 ? 3 : 1]];
      handle.setAttribute("class", "handle");
      handle.setAttribute("r", 6);
      handle.setAttribute("cx", place.left + x / this.columns * place.width);
      handle.setAttribute("cy", place.top + y / this.rows * place.height);
      handle.dataset.corner = corner;
      handles.push(handle);
    }
    this.overlay.querySelector("#handles").replaceChildren(...handles);
    this.moved();
  }
}
