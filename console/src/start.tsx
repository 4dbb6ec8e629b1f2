import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { App } from './app';
import { nonce } from './nonce';
import { startKeys } from './keys/keys';

// The scroll lock under dialogs makes a style of its own, and takes its nonce from here.
(globalThis as { __webpack_nonce__?: string }).__webpack_nonce__ = nonce();
startKeys();
const root = document.getElementById('root');
if (root) {
  createRoot(root).render(
    <StrictMode>
      <App />
    </StrictMode>,
  );
}
