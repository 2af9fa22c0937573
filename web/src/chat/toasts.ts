/**
 * Short notices that disappear by themselves. They wait while the pointer or the focus is on them, and so does an
 * action that can be undone.
 */
import { shallowRef, type ShallowRef } from 'vue';

export interface Toast {
  id: number;
  text: string;
  action?: Action;
}

export interface Action {
  label: string;
  run(): void;
  /** The user did not take the action, and it is now too late. */
  missed?(): void;
}

export interface Toasts {
  list: ShallowRef<Toast[]>;
  add(text: string, action?: Action): void;
  /** Takes the toast's action. */
  act(toast: Toast): void;
  dismiss(toast: Toast): void;
  /** Stops the clocks of all toasts, so that nothing moves while the user is at one of them. */
  hold(): void;
  release(): void;
}

export const TOAST_MS = 7000;
/** More toasts than this push out the oldest, except those with an action: these stay until their time is over. */
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
    // When the last toast is gone, the user is at none any more.
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
