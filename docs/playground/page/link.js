// What is in the address: specs after the `#`, deflated, in URL-safe base64. The site's own links
// to the playground are made by docs/site/hooks.py in the same way.

const PACKED = ["spec", "old"];

async function through(stream, bytes) {
  const piped = new Blob([bytes]).stream().pipeThrough(stream);
  return new Uint8Array(await new Response(piped).arrayBuffer());
}

export async function pack(text) {
  const stream = new CompressionStream("deflate-raw");
  const bytes = await through(stream, new TextEncoder().encode(text));
  const letters = Array.from(bytes, (byte) => String.fromCharCode(byte)).join("");
  return btoa(letters).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

export async function unpack(packed) {
  const letters = atob(packed.replaceAll("-", "+").replaceAll("_", "/"));
  const bytes = Uint8Array.from(letters, (letter) => letter.charCodeAt(0));
  return new TextDecoder().decode(await through(new DecompressionStream("deflate-raw"), bytes));
}

export async function readAddress() {
  const found = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
  for (const name of PACKED) {
    if (!(name in found)) continue;
    try {
      found[name] = await unpack(found[name]);
    } catch {
      found[name] = "# This link is damaged: it does not hold a whole spec.\n";
    }
  }
  return found;
}

let writes = 0;

export async function writeAddress(values) {
  const write = ++writes;
  const parts = Object.entries(values).map(async ([name, value]) => [
    name,
    PACKED.includes(name) ? await pack(value) : value,
  ]);
  const packed = await Promise.all(parts);
  if (write !== writes) return; // a newer one may be there already
  const hash = new URLSearchParams(packed).toString().replaceAll("%2F", "/");
  history.replaceState(null, "", `#${hash}`); // not an event, and no step back for each key
}
