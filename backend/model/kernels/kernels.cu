// The kernels of this folder for GPUs. They are compiled on the GPU's machine at first use (NVRTC), for one number type:
// NUMBER is 0 for float, 1 for bfloat16, 2 for half. Where a kernel needs them, HEAD_DIM and GROUP (query heads of a KV head)
// are known to the compiler. No header is included, since a machine with a driver alone has none.
//
// A test compiles this file for the CPU too (EMULATED), where the threads of a block take turns.

#ifndef EMULATED
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

// One thread for a number of the result.
extern "C" __global__ void swiglu(const number* inner, number* out, size width, size count) {
  size index = (size)blockIdx.x * blockDim.x + threadIdx.x;
  if (index >= count) return;
  const number* row = inner + index / width * 2 * width + index % width;
  out[index] = narrow(silu(wide(row[0])) * wide(row[width]));
}

// One warp for a token of a head.
extern "C" __global__ void arrange_heads(const number* qkv, const number* cos, const number* sin, const number* norms,
                                         number* out, size tokens, size query_heads, size kv_heads, size head_dim,
                                         size half, float eps) {
  size heads = query_heads + 2 * kv_heads;
  size item = (size)blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32;
  unsigned lane = threadIdx.x % 32;
  if (item >= tokens * heads) return;  // a whole warp
  size token = item / heads, head = item % heads;
  const number* row = qkv + item * head_dim;
  number* made = out + (head * tokens + token) * head_dim;
  if (head >= query_heads + kv_heads) {
    for (size i = lane; i < head_dim; i += 32) made[i] = row[i];
    return;
  }
  const number* weights = norms ? norms + (head >= query_heads ? head_dim : 0) : 0;
  float scale = 1.0f;
  if (weights) {
    float squares = 0.0f;
    for (size i = lane; i < head_dim; i += 32) squares += wide(row[i]) * wide(row[i]);
    scale = 1.0f / sqrtf(warp_sum(squares) / (float)head_dim + eps);
  }
  for (size i = lane; i < head_dim; i += 32) {
    float x = wide(row[i]) * (weights ? scale * wide(weights[i]) : 1.0f);
    if (i < 2 * half) {
      size other = i < half ? i + half : i - half;
      size angle = token * half + (i < half ? i : i - half);
      float y = wide(row[other]) * (weights ? scale * wide(weights[other]) : 1.0f);
      float c = wide(cos[angle]), s = wide(sin[angle]);
      x = i < half ? x * c - y * s : x * c + y * s;
    }
    made[i] = narrow(x);
  }
}

// One warp for a token of a head.
extern "C" __global__ void gate_tail(const number* up, const number* up_bias, const number* down, const number* bias,
                                     number* out, size tokens, size inner, size heads) {
  size item = (size)blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32;
  unsigned lane = threadIdx.x % 32;
  if (item >= tokens * heads) return;  // a whole warp
  size token = item / heads, head = item % heads;
  float sum = 0.0f;
  for (size i = lane; i < inner; i += 32)
    sum += silu(wide(up[token * inner + i]) + wide(up_bias[i])) * wide(down[head * inner + i]);
  sum = warp_sum(sum);
  if (lane == 0) out[item] = narrow(sum + wide(bias[head]));
}

#ifdef HEAD_DIM
#define PER_LANE ((HEAD_DIM + 31) / 32)
#define WARPS 4

// Where a lane's k-th number of a row is. Neighbouring lanes read neighbouring numbers.
#define NUMBER_OF(k) ((k) * 32 + lane)

// One block for a part of a KV head's columns; its warps take columns in turn, and each reads a key and a value once for
// the whole group, keeping running maxima and sums (the online softmax of Milakov and Gimelshein 2018).
extern "C" __global__ void attend_part(const number* queries, const number* keys, const number* values,
                                       const unsigned* survivors, float* parts, size key_stride, size value_stride,
                                       size packed, size columns, size splits, float scale) {
  __shared__ float most_of[WARPS][GROUP], total_of[WARPS][GROUP], sums_of[WARPS][GROUP][HEAD_DIM];
  unsigned head = blockIdx.x, split = blockIdx.y, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  size used = survivors ? survivors[head] : packed;
  size per_split = (columns + splits - 1) / splits;
  size begin = split * per_split;
  size end = begin + per_split < columns ? begin + per_split : columns;
  float query[GROUP][PER_LANE], sums[GROUP][PER_LANE], most[GROUP], total[GROUP];
  for (int g = 0; g < GROUP; g++) {
    most[g] = MINUS_INFINITY;
    total[g] = 0.0f;
    for (int k = 0; k < PER_LANE; k++) {
      sums[g][k] = 0.0f;
      query[g][k] = NUMBER_OF(k) < HEAD_DIM ? wide(queries[((size)head * GROUP + g) * HEAD_DIM + NUMBER_OF(k)]) * scale : 0.0f;
    }
  }
  for (size column = begin + warp; column < end; column += WARPS) {
    if (column >= used && column < packed) continue;  // a whole warp
    float key[PER_LANE], value[PER_LANE];
    for (int k = 0; k < PER_LANE; k++) {
      bool inside = NUMBER_OF(k) < HEAD_DIM;
      key[k] = inside ? wide(keys[head * key_stride + column * HEAD_DIM + NUMBER_OF(k)]) : 0.0f;
      value[k] = inside ? wide(values[head * value_stride + column * HEAD_DIM + NUMBER_OF(k)]) : 0.0f;
    }
    for (int g = 0; g < GROUP; g++) {
      float logit = 0.0f;
      for (int k = 0; k < PER_LANE; k++) logit += query[g][k] * key[k];
      logit = warp_sum(logit);
      float larger = fmaxf(most[g], logit);
      float fade = expf(most[g] - larger), weight = expf(logit - larger);
      most[g] = larger;
      total[g] = total[g] * fade + weight;
      for (int k = 0; k < PER_LANE; k++) sums[g][k] = sums[g][k] * fade + weight * value[k];
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
