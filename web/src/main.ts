import { createApp } from 'vue';
import App from './App.vue';
import { startLanguage } from './i18n';
import { startTheme } from './theme';
import './styles/base.css';

startTheme();
await startLanguage();
createApp(App).mount('#app');

// The server does not have this part of an older build any more. So the page is loaded again, once.
window.addEventListener('vite:preloadError', () => {
  const key = 'parley.reloaded';
  if (Date.now() - Number(sessionStorage.getItem(key)) < 60_000) return;
  sessionStorage.setItem(key, String(Date.now()));
  location.reload();
});

if (import.meta.env.PROD && 'serviceWorker' in navigator) {
  // This comes after the first view, because only the next visit needs it.
  const register = () => void navigator.serviceWorker.register('/sw.js');
  if (document.readyState === 'complete') register();
  else window.addEventListener('load', register);
}
