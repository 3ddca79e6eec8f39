#version 300 es
precision highp float;
precision highp int;
precision highp sampler2D;

// Expands a head's intervals into the pixels of its triangle. Twin of shownIn in base/cells.ts.

uniform sampler2D lives;      // r: log beta in nats, positive when unknown; g: first query blind to the token; b: its position, if pooled
uniform sampler2D ramp;       // 256 x 1: the colour map
uniform ivec2 cellOrigin;     // cell (key, query) at the panel's top left corner: whole part
uniform vec2 cellOffset;      // ... and the rest, in [0, 1)
uniform vec2 cellsPerPixel;   // cells to a device pixel, (key, query)
uniform vec2 corner;          // panel's top left corner in device pixels, y down
uniform float canvasHeight;   // device pixels
uniform int entryStart;       // the head's first entry in the texture
uniform int pool;             // tokens to an entry
uniform int seen;             // tokens seen
uniform int kind;             // 0 retention, 1 alive, 2 half-life
uniform float longestLog10;   // log10 of the half-life in tokens at the end of the axis
uniform vec3 unbornColour;
uniform vec3 evictedColour;
uniform vec3 aliveColour;
uniform vec3 unknownColour;

out vec4 colour;

const int ENTRIES_PER_PIXEL = 64;
const int TEXTURE_WIDTH = 2048;
const float LN2 = 0.6931471805599453;

ivec2 cellsOfPixel(float index, int origin, float offset, float perPixel) {
  if (perPixel <= 1.0) {
    int cell = origin + int(floor(offset + (index + 0.5) * perPixel));
    return ivec2(cell, cell + 1);
  }
  float start = offset + index * perPixel;
  return ivec2(origin + int(floor(start)), origin + int(ceil(start + perPixel - 1e-3)));
}

void main() {
  vec2 index = floor(vec2(gl_FragCoord.x, canvasHeight - gl_FragCoord.y) - corner);
  ivec2 keys = cellsOfPixel(index.x, cellOrigin.x, cellOffset.x, cellsPerPixel.x);
  ivec2 queries = cellsOfPixel(index.y, cellOrigin.y, cellOffset.y, cellsPerPixel.y);
  int key1 = min(min(keys.y, seen), queries.y);
  int key0 = max(keys.x, 0);
  colour = vec4(unbornColour, 1.0);
  if (queries.x >= seen || queries.y <= 0 || key0 >= key1) return;

  int first = key0 / pool;
  int last = (key1 + pool - 1) / pool;
  int stride = max(1, (last - first + ENTRIES_PER_PIXEL - 1) / ENTRIES_PER_PIXEL);
  int born = 0;
  int alive = 0;
  float value = -1.0;
  for (int i = 0; i < ENTRIES_PER_PIXEL; i++) {
    int entry = first + i * stride;
    if (entry >= last) break;
    int at = entryStart + entry;
    vec4 life = texelFetch(lives, ivec2(at % TEXTURE_WIDTH, at / TEXTURE_WIDTH), 0);
    int key = pool > 1 ? int(life.b) : entry;
    if (key >= queries.y) continue;
    int query = max(queries.x, key);
    born++;
    if (float(query) >= life.g) continue;
    alive++;
    if (life.r > 0.0) continue;
    float here = kind == 0
      ? exp(life.r * float(query - key))
      : clamp(life.r == 0.0 ? 1.0 : log(LN2 / -life.r) / 2.302585092994046 / longestLog10, 0.0, 1.0);
    value = max(value, here);
  }
  if (born == 0) return;
  if (alive == 0) {
    colour = vec4(evictedColour, 1.0);
  } else if (kind == 1) {
    float share = float(alive) / float(born);
    colour = vec4(mix(evictedColour, aliveColour, 0.4 + 0.6 * share), 1.0);
  } else if (value < 0.0) {
    colour = vec4(unknownColour, 1.0);
  } else {
    colour = vec4(texelFetch(ramp, ivec2(int(floor(value * 255.0 + 0.5)), 0), 0).rgb, 1.0);
  }
}
