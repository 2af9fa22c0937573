import { createApp } from 'vue';
import App from './App.vue';
import { startLanguage } from './i18n';
import { startTheme } from './theme';
import './styles/base.css';

startTheme();
await startLanguage();
createApp(App).mount('#app');

// A part of an older build that the server does not have any more: the page is loaded anew, once.
window.addEventListener('vite:preloadError', () => {
  const key = 'parley.reloaded';
  if (Date.now() - Number(sessionStorage.getItem(key)) < 60_000) return;
  sessionStorage.setItem(key, String(Date.now()));
  location.reload();
});

if (import.meta.env.PROD && 'serviceWorker' in navigator) {
  // After the first view: it must not wait for what only the next visit needs.
  const register = () => void navigator.serviceWorker.register('/sw.js');
  if (document.readyState === 'complete') register();
  else window.addEventListener('load', register);
}
