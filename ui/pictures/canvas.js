// The canvas of ui/canvas.py: strokes with mouse, finger or pen, white on black. Its state `drawing` is
// {strokes, picture}: what was drawn, so that it can be put back, and a PNG of it as a data URL (null when empty).
//
// Streamlit calls the function again each time the page is drawn; what belongs to one canvas is kept with it.

const SIDE = 280
const PAUSE_MS = 300 // a digit of several strokes is sent once
const canvases = new WeakMap()

export default function ({ parentElement, data, setStateValue }) {
  const canvas = parentElement.querySelector("canvas")
  const known = canvases.get(canvas)
  if (known) {
    known.send = setStateValue
    return
  }
  const [undo, clear] = ["undo", "clear"].map((name) => parentElement.querySelector(`[data-do=${name}]`))
  const width = parentElement.querySelector("input")
  const pen = canvas.getContext("2d")
  const drawing = { strokes: restored(data?.strokes), send: setStateValue }
  let stroke = null
  let timer = null

  function paint() {
    pen.fillStyle = "#000"
    pen.fillRect(0, 0, SIDE, SIDE)
    pen.strokeStyle = "#fff"
    pen.lineCap = pen.lineJoin = "round"
    for (const { width, points } of drawing.strokes) {
      pen.lineWidth = width
      pen.beginPath()
      pen.moveTo(...points[0])
      // A line to where it begins makes a dot of a single point.
      for (const point of points.length > 1 ? points.slice(1) : points) pen.lineTo(...point)
      pen.stroke()
    }
    undo.disabled = clear.disabled = drawing.strokes.length === 0
  }

  function changed() {
    paint()
    clearTimeout(timer)
    timer = setTimeout(() => {
      const { strokes } = drawing
      drawing.send("drawing", { strokes, picture: strokes.length ? canvas.toDataURL("image/png") : null })
    }, PAUSE_MS)
  }

  function place(event) {
    const box = canvas.getBoundingClientRect()
    return [
      Math.round(((event.clientX - box.left) / box.width) * SIDE),
      Math.round(((event.clientY - box.top) / box.height) * SIDE),
    ]
  }

  canvas.addEventListener("pointerdown", (event) => {
    if (stroke || event.button !== 0) return
    event.preventDefault()
    clearTimeout(timer) // the digit goes on
    canvas.setPointerCapture(event.pointerId)
    stroke = { pointer: event.pointerId, width: Number(width.value), points: [place(event)] }
    drawing.strokes.push(stroke)
    paint()
  })
  canvas.addEventListener("pointermove", (event) => {
    if (event.pointerId !== stroke?.pointer) return
    const passed = event.getCoalescedEvents?.() ?? []
    stroke.points.push(...(passed.length ? passed : [event]).map(place))
    paint()
  })
  const lift = (event) => {
    if (event.pointerId !== stroke?.pointer) return
    delete stroke.pointer
    stroke = null
    changed()
  }
  canvas.addEventListener("pointerup", lift)
  canvas.addEventListener("pointercancel", lift)
  undo.addEventListener("click", () => {
    drawing.strokes.pop()
    changed()
  })
  clear.addEventListener("click", () => {
    drawing.strokes.length = 0
    changed()
  })
  canvases.set(canvas, drawing)
  paint()
}

function restored(strokes) {
  if (!Array.isArray(strokes)) return []
  return strokes
    .map(({ width, points }) => ({ width: Number(width), points: points.map(([x, y]) => [Number(x), Number(y)]) }))
    .filter(({ points }) => points.length > 0)
}
