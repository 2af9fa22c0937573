import { createApp } from 'vue';
import App from './App.vue';
import { startLanguage } from './i18n';
import { startTheme } from './theme';
import './styles/base.css';

startTheme();
await startLanguage();
createApp(App).mount('#app');

if (import.meta.env.PROD && 'serviceWorker' in navigator) {
  // After the first view: it must not wait for what only the next visit needs.
  const register = () => void navigator.serviceWorker.register('/sw.js');
  if (document.readyState === 'complete') register();
  else window.addEventListener('load', register);
}
