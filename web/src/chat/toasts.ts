/** Short notices that go by themselves. They wait for as long as somebody is at them, and so does what can be undone. */
import { shallowRef, type ShallowRef } from 'vue';

export interface Toast {
  id: number;
  text: string;
  action?: Action;
}

export interface Action {
  label: string;
  run(): void;
  /** It was not taken, and cannot be any more. */
  missed?(): void;
}

export interface Toasts {
  list: ShallowRef<Toast[]>;
  add(text: string, action?: Action): void;
  /** Takes its action. */
  act(toast: Toast): void;
  dismiss(toast: Toast): void;
  /** Stops the clocks of all, so that nothing moves while somebody is at one of them. */
  hold(): void;
  release(): void;
}

export const TOAST_MS = 7000;
/** More than these make room, but for those with an action: it is good until its time is over. */
const MAX_TOASTS = 3;

export function createToasts(): Toasts {
  const list = shallowRef<Toast[]>([]);
  const clocks = new Map<number, { left: number; since: number; timer: ReturnType<typeof setTimeout> }>();
  let held = false;
  let next = 0;

  function start(toast: Toast, left: number): void {
    clocks.set(toast.id, { left, since: Date.now(), timer: setTimeout(() => dismiss(toast), left) });
  }

  function take(toast: Toast): boolean {
    if (!list.value.includes(toast)) return false;
    clearTimeout(clocks.get(toast.id)?.timer);
    clocks.delete(toast.id);
    list.value = list.value.filter((other) => other !== toast);
    // Who was at the last one is at none any more.
    if (list.value.length === 0) held = false;
    return true;
  }

  function dismiss(toast: Toast): void {
    if (take(toast)) toast.action?.missed?.();
  }

  return {
    list,
    add(text, action) {
      const made: Toast = { id: next++, text, ...(action ? { action } : {}) };
      list.value = [...list.value, made];
      start(made, TOAST_MS);
      if (held) clearTimeout(clocks.get(made.id)?.timer);
      const extra = list.value.length - MAX_TOASTS;
      for (const old of list.value.filter((toast) => !toast.action && toast !== made).slice(0, Math.max(extra, 0))) dismiss(old);
    },
    act(toast) {
      if (take(toast)) toast.action?.run();
    },
    dismiss,
    hold() {
      if (held) return;
      held = true;
      for (const clock of clocks.values()) {
        clearTimeout(clock.timer);
        clock.left -= Date.now() - clock.since;
      }
    },
    release() {
      if (!held) return;
      held = false;
      for (const toast of list.value) start(toast, Math.max(clocks.get(toast.id)?.left ?? TOAST_MS, 0));
    },
  };
}
