declare module "*.glsl" {
  const text: string;
  export default text;
}
declare module "*.rgb" {
  const bytes: Uint8Array;
  export default bytes;
}
declare module "*.txt" {
  const text: string;
  export default text;
}
declare module "*.css";
