/** saveFile has the browser save bytes as a file. */
export function saveFile(name: string, body: Uint8Array, type = 'application/json') {
  const url = URL.createObjectURL(new Blob([new Uint8Array(body)], { type }));
  const a = document.createElement('a');
  a.href = url;
  a.download = name;
  a.click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
