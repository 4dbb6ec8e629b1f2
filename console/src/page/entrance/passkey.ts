/** passkeys says whether this browser has them, here (they need a secure address). */
export function passkeys(): boolean {
  return typeof PublicKeyCredential !== 'undefined' && typeof PublicKeyCredential.parseRequestOptionsFromJSON === 'function';
}

/** publicKey is the part of the options that the browser takes, with or without the wrapping. */
export function publicKey(json: string): unknown {
  const o = JSON.parse(json) as { publicKey?: unknown };
  return o.publicKey ?? o;
}

/** getPasskey asks the person's key to sign, and gives the answer as the standard's JSON. */
export async function getPasskey(json: string): Promise<string> {
  const options = PublicKeyCredential.parseRequestOptionsFromJSON(publicKey(json) as PublicKeyCredentialRequestOptionsJSON);
  return told(await navigator.credentials.get({ publicKey: options }));
}

/** makePasskey has a new key made. */
export async function makePasskey(json: string): Promise<string> {
  const options = PublicKeyCredential.parseCreationOptionsFromJSON(publicKey(json) as PublicKeyCredentialCreationOptionsJSON);
  return told(await navigator.credentials.create({ publicKey: options }));
}

function told(c: Credential | null): string {
  if (!(c instanceof PublicKeyCredential)) throw new Error('No passkey was given.');
  return JSON.stringify(c.toJSON());
}

/** passkeyFault says in words why the browser gave no passkey; undefined: it was not the browser. */
export function passkeyFault(e: unknown): string | undefined {
  if (!(e instanceof DOMException)) return undefined;
  switch (e.name) {
    case 'NotAllowedError':
      return 'No passkey was used: it was cancelled, or took too long. Try again, or use your password.';
    case 'InvalidStateError':
      return 'This device already has a passkey of yours.';
    case 'SecurityError':
      return 'Passkeys do not work at this address. Open the console by the name in hub.console.url.';
    default:
      return `The browser gave no passkey: ${e.message}`;
  }
}
