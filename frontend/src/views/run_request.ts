// What a run can be given, and what was typed read as a request for one.

/** `GET /api/runs`. */
export interface RunOptions {
  available: boolean;
  reason?: string | null;
  models: { name: string; title: string; budget: number; buffer: number }[];
  policies: { name: string; title: string; needs_gates: boolean }[];
  device: string;
}

/** `POST /api/runs`. */
export interface RunRequest {
  prompt: string;
  model?: string;
  policy?: string;
  budget?: number;
  buffer?: number;
  seed?: number;
  max_new_tokens?: number;
  temperature?: number;
  top_p?: number;
}

/** The form as it is typed. */
export interface RunFields {
  prompt: string;
  model: string;
  policy: string;
  budget: string;
  buffer: string;
  seed: string;
  tokens: string;
  draw: "greedy" | "sample";
  temperature: string;
  topP: string;
}

export type RunErrors = Partial<Record<keyof RunFields, string>>;

/** What the form has at first. */
export function firstFields(options: RunOptions): RunFields {
  const [model] = options.models;
  return {
    prompt: "",
    model: model?.name ?? "",
    policy: options.policies[0]?.name ?? "",
    budget: model ? String(model.budget) : "",
    buffer: model ? String(model.buffer) : "",
    seed: "0",
    tokens: "256",
    draw: "greedy",
    temperature: "0.8",
    topP: "0.95",
  };
}

/** The full cache keeps everything, so a budget means nothing to it. */
export function hasBudget(policy: string): boolean {
  return policy !== "full";
}

/** The request that the fields make, or what is wrong with each of them. */
export function readRun(fields: RunFields): { request: RunRequest } | { errors: RunErrors } {
  const errors: RunErrors = {};
  const whole = (name: keyof RunFields, least: number, what: string): number => {
    const typed = fields[name].trim().replaceAll(",", "");
    const value = Number(typed);
    if (!/^\d+$/.test(typed) || value < least || value > 2 ** 32 - 1) errors[name] = `${what} is a whole number, ${least === 0 ? "0 or more" : `at least ${least}`}`;
    return value;
  };
  const within = (name: keyof RunFields, isIn: (value: number) => boolean, what: string): number => {
    const typed = fields[name].trim();
    const value = Number(typed);
    if (typed === "" || !Number.isFinite(value) || !isIn(value)) errors[name] = what;
    return value;
  };
  if (fields.prompt === "") errors.prompt = "write a prompt; the model goes on from it";
  const request: RunRequest = { prompt: fields.prompt };
  if (fields.model) request.model = fields.model;
  if (fields.policy) request.policy = fields.policy;
  if (hasBudget(fields.policy)) {
    request.budget = whole("budget", 1, "a budget");
    request.buffer = whole("buffer", 0, "a buffer");
  }
  request.seed = whole("seed", 0, "a seed");
  request.max_new_tokens = whole("tokens", 1, "the number of tokens");
  if (fields.draw === "sample") {
    request.temperature = within("temperature", (value) => value > 0, "over 0");
    request.top_p = within("topP", (value) => value > 0 && value <= 1, "over 0, at most 1");
  }
  return Object.keys(errors).length > 0 ? { errors } : { request };
}
