// The kernels of this folder for GPUs. They are compiled on the GPU's machine at first use (NVRTC), for one number type:
// NUMBER is 0 for float, 1 for bfloat16, 2 for half. Where a kernel needs them, HEAD_DIM and GROUP (query heads of a KV head)
// are known to the compiler. No header is included, since a machine with a driver alone has none.
//
// A test compiles this file for the CPU too (EMULATED), where the threads of a block take turns.

#ifndef EMULATED
#define ALIGNED(bytes) __align__(bytes)
#define LANES(value, distance) __shfl_xor_sync(0xffffffffu, value, distance)
#define MINUS_INFINITY __int_as_float(0xff800000)
#endif

#if NUMBER == 0
typedef float number;
__device__ inline float wide(number x) { return x; }
__device__ inline number narrow(float x) { return x; }
#elif NUMBER == 1
typedef unsigned short number;
__device__ inline float wide(number x) { return __uint_as_float((unsigned)x << 16); }
__device__ inline number narrow(float x) {
  unsigned bits = __float_as_uint(x);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return (number)((bits >> 16) | 0x40u);
  return (number)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);  // to nearest, ties to even
}
#else
typedef unsigned short number;
#ifndef EMULATED
__device__ inline float wide(number x) {
  float y;
  asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x));
  return y;
}
__device__ inline number narrow(float x) {
  number y;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y) : "f"(x));
  return y;
}
#endif
#endif

typedef unsigned long long size;

__device__ inline float silu(float x) { return x / (1.0f + expf(-x)); }

// Sum over the lanes of a warp, in every lane.
__device__ inline float warp_sum(float x) {
  for (int distance = 16; distance > 0; distance /= 2) x += LANES(x, distance);
  return x;
}

// A number of a row, with its bias where there is one; the sum is rounded as a tensor's would be.
__device__ inline float with_bias(const number* row, const number* bias, size i) {
  return bias ? wide(narrow(wide(row[i]) + wide(bias[i]))) : wide(row[i]);
}

// One thread for a number of the result.
extern "C" __global__ void swiglu(const number* inner, const number* bias, number* out, size width, size count) {
  size index = (size)blockIdx.x * blockDim.x + threadIdx.x;
  if (index >= count) return;
  const number* row = inner + index / width * 2 * width;
  size i = index % width;
  out[index] = narrow(silu(with_bias(row, bias, i)) * with_bias(row, bias, width + i));
}

// SiLU in place, with a bias for each column or times another, where there is one. One thread for a number.
extern "C" __global__ void activate(number* xs, const number* bias, const number* factor, size width, size count) {
  size index = (size)blockIdx.x * blockDim.x + threadIdx.x;
  if (index >= count) return;
  number made = narrow(silu(with_bias(xs + index / width * width, bias, index % width)));
  xs[index] = factor ? narrow(wide(made) * wide(factor[index])) : made;
}

// A head of a token by one warp: bias, norm and rotation, where there are any.
__device__ inline void make_head(const number* row, const number* bias, const number* weights, const number* cos,
                                 const number* sin, number* made, size head_dim, size half, float eps, unsigned lane) {
  float scale = 1.0f;
  if (weights) {
    float squares = 0.0f;
    for (size i = lane; i < head_dim; i += 32) {
      float x = with_bias(row, bias, i);
      squares += x * x;
    }
    scale = 1.0f / sqrtf(warp_sum(squares) / (float)head_dim + eps);
  }
  for (size i = lane; i < head_dim; i += 32) {
    float x = with_bias(row, bias, i) * (weights ? scale * wide(weights[i]) : 1.0f);
    if (i < 2 * half) {
      size other = i < half ? i + half : i - half;
      size angle = i < half ? i : i - half;
      float y = with_bias(row, bias, other) * (weights ? scale * wide(weights[other]) : 1.0f);
      float c = wide(cos[angle]), s = wide(sin[angle]);
      x = i < half ? x * c - y * s : x * c + y * s;
    }
    made[i] = narrow(x);
  }
}

// One warp for a token of a head.
extern "C" __global__ void arrange_heads(const number* qkv, const number* cos, const number* sin, const number* norms,
                                         number* out, size tokens, size query_heads, size kv_heads, size head_dim,
                                         size half, float eps) {
  size heads = query_heads + 2 * kv_heads;
  size item = (size)blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32;
  if (item >= tokens * heads) return;  // a whole warp
  size token = item / heads, head = item % heads;
  bool turned = head < query_heads + kv_heads;
  const number* weights = norms && turned ? norms + (head >= query_heads ? head_dim : 0) : 0;
  make_head(qkv + item * head_dim, 0, weights, cos + token * half, sin + token * half,
            out + (head * tokens + token) * head_dim, head_dim, turned ? half : 0, eps, threadIdx.x % 32);
}

// arrange_heads for one new token of every sequence, in a step that is the same every time: keys and values go straight to
// their column of the cache. Positions and columns are read from memory. counts: columns right after the last cut, columns in
// use before this step, per head those of the former that it uses. Where both is given, it gets every head's key and value;
// where key_norms is, the norms of the keys.
extern "C" __global__ void enter_cache(const number* qkv, const number* bias, const number* cos, const number* sin,
                                       const number* norms, const unsigned* positions, const unsigned* counts,
                                       number* queries, number* keys, number* values, number* both,
                                       float* key_norms, size sequences, size query_heads, size kv_heads,
                                       size head_dim, size half, size first_position, size stride, float eps) {
  size heads = query_heads + 2 * kv_heads;
  size item = (size)blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32;
  unsigned lane = threadIdx.x % 32;
  if (item >= sequences * heads) return;  // a whole warp
  size sequence = item / heads, head = item % heads;
  bool is_query = head < query_heads, is_value = head >= query_heads + kv_heads;
  size kv_head = (head - query_heads) % kv_heads;
  size entry = (sequence * kv_heads + kv_head) * stride + counts[1] * head_dim;
  number* made = is_query ? queries + (sequence * query_heads + head) * head_dim : (is_value ? values : keys) + entry;
  const number* weights = norms && !is_value ? norms + (is_query ? 0 : head_dim) : 0;
  size angle = (positions[sequence] - first_position) * half;
  make_head(qkv + item * head_dim, bias ? bias + head * head_dim : 0, weights, cos + angle, sin + angle, made, head_dim,
            is_value ? 0 : half, eps, lane);
  if (both && !is_query) {
    number* copy = both + ((sequence * kv_heads + kv_head) * 2 + is_value) * head_dim;
    for (size i = lane; i < head_dim; i += 32) copy[i] = made[i];
  }
  if (key_norms && !is_query && !is_value) {
    float squares = 0.0f;
    for (size i = lane; i < head_dim; i += 32) squares += wide(made[i]) * wide(made[i]);
    squares = warp_sum(squares);
    if (lane == 0) key_norms[sequence * kv_heads + kv_head] = sqrtf(squares);
  }
}

// One block for a token: its row of the embedding.
extern "C" __global__ void embed(const unsigned* ids, const number* table, number* hidden, size width) {
  const number* row = table + ids[blockIdx.x] * width;
  for (size i = threadIdx.x; i < width; i += blockDim.x) hidden[blockIdx.x * width + i] = row[i];
}

// One block for a token: adds what a layer made to the stream, in place, and normalises the sum (RMS).
extern "C" __global__ void add_norm(number* hidden, const number* made, const number* bias, const number* weight,
                                    number* normed, size width, float eps) {
  __shared__ float squares_of[32];
  hidden += blockIdx.x * width;
  normed += blockIdx.x * width;
  float squares = 0.0f;
  for (size i = threadIdx.x; i < width; i += blockDim.x) {
    float x = wide(hidden[i]);
    if (made) {
      number sum = narrow(x + with_bias(made + blockIdx.x * width, bias, i));
      hidden[i] = sum;
      x = wide(sum);
    }
    squares += x * x;
  }
  squares = warp_sum(squares);
  if (threadIdx.x % 32 == 0) squares_of[threadIdx.x / 32] = squares;
  __syncthreads();
  squares = 0.0f;
  for (unsigned warp = 0; warp < blockDim.x / 32; warp++) squares += squares_of[warp];
  float scale = 1.0f / sqrtf(squares / (float)width + eps);
  // A thread reads what it wrote itself.
  for (size i = threadIdx.x; i < width; i += blockDim.x) normed[i] = narrow(wide(hidden[i]) * scale * wide(weight[i]));
}

// One block for a sequence: its most likely token, the lowest id among equals, which is also the next to be fed. Told of it:
// the id, minus its log probability, the entropy, and a number that is finite when all logits are.
extern "C" __global__ void __launch_bounds__(1024) draw(const number* logits, unsigned* ids, float* told, size vocab) {
  __shared__ float best_of[32], id_of[32], total_of[32], sum_of[32], odd_of[32];
  logits += blockIdx.x * vocab;
  float best = MINUS_INFINITY, id = (float)vocab, odd = 0.0f;
  for (size i = threadIdx.x; i < vocab; i += blockDim.x) {
    float x = wide(logits[i]);
    odd += x - x;  // not a number unless x is finite
    if (x > best) {
      best = x;
      id = (float)i;
    }
  }
  unsigned warp = threadIdx.x / 32, warps = blockDim.x / 32;
  for (int distance = 16; distance > 0; distance /= 2) {
    float other = LANES(best, distance), other_id = LANES(id, distance);
    if (other > best || (other == best && other_id < id)) {
      best = other;
      id = other_id;
    }
  }
  odd = warp_sum(odd);
  if (threadIdx.x % 32 == 0) {
    best_of[warp] = best;
    id_of[warp] = id;
    odd_of[warp] = odd;
  }
  __syncthreads();
  for (unsigned w = 0; w < warps; w++) {
    if (best_of[w] > best || (best_of[w] == best && id_of[w] < id)) {
      best = best_of[w];
      id = id_of[w];
    }
  }
  float total = 0.0f, sum = 0.0f;
  for (size i = threadIdx.x; i < vocab; i += blockDim.x) {
    float below = wide(logits[i]) - best;
    float weight = expf(below);
    total += weight;
    sum += weight * below;
  }
  total = warp_sum(total);
  sum = warp_sum(sum);
  if (threadIdx.x % 32 == 0) {
    total_of[warp] = total;
    sum_of[warp] = sum;
  }
  __syncthreads();
  if (threadIdx.x > 0) return;
  total = sum = odd = 0.0f;
  for (unsigned w = 0; w < warps; w++) {
    total += total_of[w];
    sum += sum_of[w];
    odd += odd_of[w];
  }
  ids[blockIdx.x] = odd == 0.0f ? (unsigned)id : 0;
  told += blockIdx.x * 4;
  told[0] = id;
  told[1] = logf(total);
  told[2] = logf(total) - sum / total;
  told[3] = odd;
}

// One block, at the end of a step: every sequence has one token more, every layer one column.
extern "C" __global__ void advance(unsigned* positions, unsigned* counts, size sequences, size layers, size per_layer) {
  for (size i = threadIdx.x; i < sequences; i += blockDim.x) positions[i]++;
  for (size i = threadIdx.x; i < layers; i += blockDim.x) counts[i * per_layer + 1]++;
}

// A gate's logit for a token and a head by one warp, rounded. Without up_bias the inner numbers are what they will be.
__device__ inline number gate_logit(const number* up, const number* up_bias, const number* down, const number* bias,
                                    size inner, size head, unsigned lane) {
  float sum = 0.0f;
  for (size i = lane; i < inner; i += 32)
    sum += (up_bias ? silu(wide(up[i]) + wide(up_bias[i])) : wide(up[i])) * wide(down[head * inner + i]);
  return narrow(warp_sum(sum) + wide(bias[head]));
}

// One warp for a token of a head.
extern "C" __global__ void gate_tail(const number* up, const number* up_bias, const number* down, const number* bias,
                                     number* out, size tokens, size inner, size heads) {
  size item = (size)blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32;
  if (item >= tokens * heads) return;  // a whole warp
  number logit =
      gate_logit(up + item / heads * inner, up_bias, down, bias, inner, item % heads, threadIdx.x % 32);
  if (threadIdx.x % 32 == 0) out[item] = logit;
}

// gate_tail for one new token of every sequence, up to log beta. Where entries are kept, the token's own is noted in its
// column: its log beta, and its position. counts: see enter_cache.
extern "C" __global__ void enter_gate(const number* up, const number* up_bias, const number* down, const number* bias,
                                      const unsigned* positions, const unsigned* counts, float* log_betas,
                                      float* entry_log_beta, unsigned* entry_position, size sequences, size inner,
                                      size heads, size stride) {
  size item = (size)blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32;
  if (item >= sequences * heads) return;  // a whole warp
  float x =
      wide(gate_logit(up + item / heads * inner, up_bias, down, bias, inner, item % heads, threadIdx.x % 32));
  if (threadIdx.x % 32 > 0) return;
  float log_beta = fminf(x, 0.0f) - log1pf(expf(-fabsf(x)));
  log_betas[item] = log_beta;
  if (!entry_log_beta) return;
  entry_log_beta[item * stride + counts[1]] = log_beta;
  entry_position[item * stride + counts[1]] = positions[item / heads];
}

// One block for a head of a layer: which of its columns stay when it holds limit entries or more, by learned retention
// (ties go to the newer token), and its entries packed to the left. kept gets the columns, kept_count how many. Heads that hold
// fewer keep all. Scores and flags are room for what it works out.
extern "C" __global__ void select_kept(const unsigned* positions, const unsigned* counts, float* entry_log_beta,
                                       unsigned* entry_position, float* scores, unsigned* flags, unsigned* kept,
                                       unsigned* kept_count, size heads, size kv_heads, size per_layer, size stride,
                                       size budget, size limit, size sinks, size recent, size age_offset) {
  size head = blockIdx.x, layer = blockIdx.y, plane = (layer * heads + head) * stride;
  counts += layer * per_layer;
  unsigned packed = counts[0], columns = counts[1], survivors = counts[2 + head];
  unsigned held = survivors + columns - packed, seen = positions[head / kv_heads];
  entry_log_beta += plane;
  entry_position += plane;
  scores += plane;
  flags += plane;
  kept += plane;
#define COLUMN(slot) ((slot) < survivors ? (slot) : packed + (slot) - survivors)
  unsigned first = 0, end = held, places = held;
  if (held >= limit) {
    // Positions ascend: the protected ones are a beginning and an end.
    while (first < held && entry_position[COLUMN(first)] < sinks) first++;
    end = held > recent ? held - (unsigned)recent : 0;
    if (end < first) end = first;
    unsigned safe = held - (end - first);
    places = budget > safe ? (unsigned)(budget - safe) : 0;
    for (unsigned slot = first + threadIdx.x; slot < end; slot += blockDim.x) {
      float age = (float)((long long)seen + (long long)age_offset - (long long)entry_position[COLUMN(slot)]);
      scores[slot] = age * entry_log_beta[COLUMN(slot)];
    }
  }
  __syncthreads();
  for (unsigned slot = threadIdx.x; slot < held; slot += blockDim.x) {
    unsigned better = 0;
    if (held >= limit && slot >= first && slot < end) {
      float own = scores[slot];
      for (unsigned other = first; other < end; other++)
        better += scores[other] > own || (scores[other] == own && other > slot);
      flags[slot] = better < places;
    } else {
      flags[slot] = 1;
    }
  }
  __syncthreads();
  unsigned stay = 0;
  for (unsigned slot = 0; slot < held; slot++) stay += flags[slot];
  for (unsigned slot = threadIdx.x; slot < held; slot += blockDim.x) {
    if (!flags[slot]) continue;
    unsigned before = 0;
    for (unsigned other = 0; other < slot; other++) before += flags[other];
    kept[before] = COLUMN(slot);
  }
  if (threadIdx.x == 0) kept_count[layer * heads + head] = stay;
  __syncthreads();
  // Nothing is written before it is read: an entry moves to the left, or stays.
  for (unsigned base = 0; base < stay; base += blockDim.x) {
    unsigned place = base + threadIdx.x, from = place < stay ? kept[place] : 0;
    float log_beta = entry_log_beta[from];
    unsigned position = entry_position[from];
    __syncthreads();
    if (place < stay) {
      entry_log_beta[place] = log_beta;
      entry_position[place] = position;
    }
    __syncthreads();
  }
}

#define MOVED 8

// One block for the keys or the values of a head of a layer: the columns that stay, packed to the left. buffers: per layer the
// addresses of keys and of values; strides: numbers from a head to the next in them.
extern "C" __global__ void pack_kept(const unsigned long long* buffers, const unsigned* strides, const unsigned* kept,
                                     const unsigned* kept_count, size heads, size stride, size head_dim) {
  size head = blockIdx.x, layer = blockIdx.y / 2;
  number* rows = (number*)buffers[blockIdx.y] + head * (size)strides[layer] * head_dim;
  kept += (layer * heads + head) * stride;
  unsigned width = (unsigned)head_dim, entries = kept_count[layer * heads + head], first = 0;
  // What is at its place stays there.
  while (first < entries && kept[first] == first) first++;
  unsigned count = (entries - first) * width;
  kept += first;
  for (unsigned base = 0; base < count; base += MOVED * blockDim.x) {
    number moved[MOVED];
    for (int k = 0; k < MOVED; k++) {
      unsigned i = base + k * blockDim.x + threadIdx.x;
      if (i < count) moved[k] = rows[(size)kept[i / width] * width + i % width];
    }
    __syncthreads();
    for (int k = 0; k < MOVED; k++) {
      unsigned i = base + k * blockDim.x + threadIdx.x;
      if (i < count) rows[(size)first * width + i] = moved[k];
    }
    __syncthreads();
  }
}

#ifdef HEAD_DIM
// A lane holds pairs of neighbouring numbers of a row, and neighbouring lanes neighbouring pairs, so that a warp reads a row
// in as few loads as there can be.
#define PER_LANE (2 * ((HEAD_DIM + 63) / 64))
#define NUMBER_OF(k) ((k) / 2 * 64 + lane * 2 + (k) % 2)
#define WARPS 4
// Columns that a warp has on their way at once. Wide groups have no registers for more.
#define AHEAD (GROUP * HEAD_DIM <= 512 ? 4 : GROUP * HEAD_DIM < 2048 ? 2 : 1)

struct ALIGNED(2 * sizeof(number)) Pair {
  number first, second;
};

__device__ inline void read_row(const number* row, float* numbers, unsigned lane) {
  for (int k = 0; k < PER_LANE; k += 2) {
    numbers[k] = numbers[k + 1] = 0.0f;
#if HEAD_DIM % 2 == 0
    if (NUMBER_OF(k) < HEAD_DIM) {
      Pair pair = *(const Pair*)(row + NUMBER_OF(k));
      numbers[k] = wide(pair.first);
      numbers[k + 1] = wide(pair.second);
    }
#else
    if (NUMBER_OF(k) < HEAD_DIM) numbers[k] = wide(row[NUMBER_OF(k)]);
    if (NUMBER_OF(k + 1) < HEAD_DIM) numbers[k + 1] = wide(row[NUMBER_OF(k + 1)]);
#endif
  }
}

// One block for a part of a KV head's columns; its warps take columns in turn, and each reads a key and a value once for
// the whole group, keeping running maxima and sums (the online softmax of Milakov and Gimelshein 2018). Where counts are
// given (see enter_cache), they say how many columns there are: those in use before this step, and its own.
extern "C" __global__ void attend_part(const number* queries, const number* keys, const number* values,
                                       const unsigned* survivors, const unsigned* counts, float* parts, size key_stride,
                                       size value_stride, size packed, size columns, size splits, float scale) {
  __shared__ float most_of[WARPS][GROUP], total_of[WARPS][GROUP], sums_of[WARPS][GROUP][HEAD_DIM];
  unsigned head = blockIdx.x, split = blockIdx.y, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  if (counts) {
    packed = counts[0];
    columns = counts[1] + 1;
    survivors = counts + 2;
  }
  size used = survivors ? survivors[head] : packed;
  size per_split = (columns + splits - 1) / splits;
  size begin = split * per_split;
  size end = begin + per_split < columns ? begin + per_split : columns;
  float query[GROUP][PER_LANE], sums[GROUP][PER_LANE], most[GROUP], total[GROUP];
  for (int g = 0; g < GROUP; g++) {
    most[g] = MINUS_INFINITY;
    total[g] = 0.0f;
    read_row(queries + ((size)head * GROUP + g) * HEAD_DIM, query[g], lane);
    for (int k = 0; k < PER_LANE; k++) {
      sums[g][k] = 0.0f;
      query[g][k] *= scale;
    }
  }
  for (size first = begin + warp * AHEAD; first < end; first += WARPS * AHEAD) {
    float key[AHEAD][PER_LANE], value[AHEAD][PER_LANE];
    bool inside[AHEAD];
#pragma unroll
    for (int a = 0; a < AHEAD; a++) {
      size column = first + a;
      inside[a] = column < end && (column < used || column >= packed);
      // What is not the head's own is read from where there is something, and weighs nothing.
      size safe = column < end ? column : first;
      read_row(keys + head * key_stride + safe * HEAD_DIM, key[a], lane);
      read_row(values + head * value_stride + safe * HEAD_DIM, value[a], lane);
    }
    for (int g = 0; g < GROUP; g++) {
      float logit[AHEAD], larger = most[g];
#pragma unroll
      for (int a = 0; a < AHEAD; a++) {
        logit[a] = 0.0f;
        for (int k = 0; k < PER_LANE; k++) logit[a] += query[g][k] * key[a][k];
      }
#pragma unroll
      for (int a = 0; a < AHEAD; a++) {
        logit[a] = warp_sum(logit[a]);
        if (inside[a]) larger = fmaxf(larger, logit[a]);
      }
      if (larger == MINUS_INFINITY) continue;  // a whole warp: nothing was the head's own yet
      float fade = expf(most[g] - larger);
      most[g] = larger;
      total[g] *= fade;
      for (int k = 0; k < PER_LANE; k++) sums[g][k] *= fade;
#pragma unroll
      for (int a = 0; a < AHEAD; a++) {
        float weight = inside[a] ? expf(logit[a] - larger) : 0.0f;
        total[g] += weight;
        // An unused column may hold anything, also what is not a number.
        if (inside[a])
          for (int k = 0; k < PER_LANE; k++) sums[g][k] += weight * value[a][k];
      }
    }
  }
  for (int g = 0; g < GROUP; g++) {
    if (lane == 0) {
      most_of[warp][g] = most[g];
      total_of[warp][g] = total[g];
    }
    for (int k = 0; k < PER_LANE; k++)
      if (NUMBER_OF(k) < HEAD_DIM) sums_of[warp][g][NUMBER_OF(k)] = sums[g][k];
  }
  __syncthreads();
  for (int g = 0; g < GROUP; g++) {
    float* part = parts + (((size)head * GROUP + g) * splits + split) * (2 + HEAD_DIM);
    float larger = MINUS_INFINITY;
    for (int w = 0; w < WARPS; w++) larger = fmaxf(larger, most_of[w][g]);
    float fades[WARPS];
    for (int w = 0; w < WARPS; w++) fades[w] = most_of[w][g] == MINUS_INFINITY ? 0.0f : expf(most_of[w][g] - larger);
    if (threadIdx.x == 0) {
      part[0] = larger;
      part[1] = 0.0f;
      for (int w = 0; w < WARPS; w++) part[1] += fades[w] * total_of[w][g];
    }
    for (unsigned i = threadIdx.x; i < HEAD_DIM; i += blockDim.x) {
      float sum = 0.0f;
      for (int w = 0; w < WARPS; w++) sum += fades[w] * sums_of[w][g][i];
      part[2 + i] = sum;
    }
  }
}

// One block for a query head: the parts of its columns, put together.
extern "C" __global__ void attend_whole(const float* parts, number* out, size splits) {
  const float* mine = parts + (size)blockIdx.x * splits * (2 + HEAD_DIM);
  float larger = MINUS_INFINITY;
  for (size s = 0; s < splits; s++) larger = fmaxf(larger, mine[s * (2 + HEAD_DIM)]);
  float total = 0.0f;
  for (size s = 0; s < splits; s++) total += expf(mine[s * (2 + HEAD_DIM)] - larger) * mine[s * (2 + HEAD_DIM) + 1];
  for (unsigned i = threadIdx.x; i < HEAD_DIM; i += blockDim.x) {
    float sum = 0.0f;
    for (size s = 0; s < splits; s++) sum += expf(mine[s * (2 + HEAD_DIM)] - larger) * mine[s * (2 + HEAD_DIM) + 2 + i];
    out[(size)blockIdx.x * HEAD_DIM + i] = narrow(sum / total);
  }
}
#endif
