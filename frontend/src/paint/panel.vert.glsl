#version 300 es
// A rectangle in device pixels, y down, as two triangles.
uniform vec4 rectangle;   // x, y, width, height
uniform vec2 canvasSize;

void main() {
  vec2 unit = vec2(float(gl_VertexID & 1), float(gl_VertexID >> 1));
  vec2 at = (rectangle.xy + unit * rectangle.zw) / canvasSize;
  gl_Position = vec4(at.x * 2.0 - 1.0, 1.0 - at.y * 2.0, 0.0, 1.0);
}
