// Asks the compiler in the worker. Its methods are those of `Session` in worker/session.py.

const worker = new Worker("worker.js", { type: "module" });
const waiting = new Map();
let count = 0;

worker.onmessage = ({ data: { id, answer, error } }) => {
  const { resolve, reject } = waiting.get(id);
  waiting.delete(id);
  if (error) reject(new Error(error.trim().split("\n").at(-1)));
  else resolve(answer);
};

worker.onerror = (event) => {
  for (const { reject } of waiting.values()) reject(new Error(event.message));
  waiting.clear();
};

export function ask(name, ...values) {
  const id = ++count;
  return new Promise((resolve, reject) => {
    waiting.set(id, { resolve, reject });
    worker.postMessage({ id, question: { ask: name, with: values } });
  });
}

// The first answer comes when Python and the compiler are there.
export const ready = ask("complete", "", 0);
