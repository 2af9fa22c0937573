/** The theme: light, dark, or the system's. */
import { shallowRef } from 'vue';
import { readJson, writeJson } from './storage';

export type Theme = 'system' | 'light' | 'dark';

const KEY = 'parley.theme';
const dark = matchMedia('(prefers-color-scheme: dark)');

export const theme = shallowRef<Theme>('system');
/** Whether the page is dark now. */
export const isDark = shallowRef(false);

export function startTheme(): void {
  const stored = readJson<Theme>(KEY);
  theme.value = stored === 'light' || stored === 'dark' ? stored : 'system';
  dark.addEventListener('change', apply);
  apply();
}

export function chooseTheme(chosen: Theme): void {
  theme.value = chosen;
  writeJson(KEY, chosen);
  apply();
}

function apply(): void {
  isDark.value = theme.value === 'dark' || (theme.value === 'system' && dark.matches);
  document.documentElement.dataset['theme'] = isDark.value ? 'dark' : 'light';
}
