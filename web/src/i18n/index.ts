/** All texts of the client, in one object for each language. Each has the shape of the English one. */
import { shallowRef } from 'vue';
import { readJson, writeJson } from '../storage';
import { en } from './en';

export type Texts = typeof en;
export type Language = 'en' | 'de';

export const languages: Record<Language, string> = { en: 'English', de: 'Deutsch' };

const KEY = 'parley.language';

export const t = shallowRef<Texts>(en);
export const language = shallowRef<Language>('en');

/** Starts with the reader's choice, or else the browser's language, or else English. */
export async function startLanguage(): Promise<void> {
  const stored = readJson<Language>(KEY);
  const preferred = navigator.languages.map((tag) => tag.slice(0, 2)).find((tag) => tag in languages);
  await useLanguage(stored && stored in languages ? stored : ((preferred as Language | undefined) ?? 'en'));
}

export async function chooseLanguage(chosen: Language): Promise<void> {
  writeJson(KEY, chosen);
  await useLanguage(chosen);
}

async function useLanguage(chosen: Language): Promise<void> {
  t.value = chosen === 'de' ? (await import('./de')).de : en;
  language.value = chosen;
  document.documentElement.lang = chosen;
}

/** The reader's own format of dates and numbers, in the language of the page. */
const locale = () => navigator.languages.find((tag) => tag.slice(0, 2) === language.value) ?? language.value;

/** The time of day in the reader's zone. */
export function timeOf(iso: string): string {
  return new Intl.DateTimeFormat(locale(), { hour: '2-digit', minute: '2-digit' }).format(new Date(iso));
}

/** Day and time in the reader's zone, for a tooltip. */
export function momentOf(iso: string): string {
  return new Intl.DateTimeFormat(locale(), { dateStyle: 'full', timeStyle: 'medium' }).format(new Date(iso));
}

export function dayOf(iso: string): string {
  const format = { weekday: 'long', day: 'numeric', month: 'long', year: 'numeric' } as const;
  return new Intl.DateTimeFormat(locale(), format).format(new Date(iso));
}

export function bytesOf(bytes: number): string {
  const units = ['byte', 'kilobyte', 'megabyte', 'gigabyte'];
  const power = Math.min(Math.floor(Math.log10(Math.max(bytes, 1)) / 3), units.length - 1);
  return new Intl.NumberFormat(locale(), {
    style: 'unit',
    unit: units[power] ?? 'byte',
    unitDisplay: power === 0 ? 'long' : 'short',
    maximumFractionDigits: power > 1 ? 1 : 0,
  }).format(bytes / 1000 ** power);
}
