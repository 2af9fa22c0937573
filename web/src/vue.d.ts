export {};

declare module 'vue' {
  interface HTMLAttributes {
    [data: `data-${string}`]: unknown;
    popover?: 'auto' | 'manual' | '';
  }
}
