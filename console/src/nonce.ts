/** nonce is what the policy of this answer allows styles by; the server put it into index.html. */
export function nonce(): string {
  return document.querySelector<HTMLMetaElement>('meta[name=csp-nonce]')?.content ?? '';
}
