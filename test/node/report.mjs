// How a script talks to the Go test that started it: one JSON object a line.

export function report(event) {
  process.stdout.write(`${JSON.stringify(event)}\n`);
}

// options are what the test gave as the only argument.
export const options = JSON.parse(process.argv[2] ?? '{}');
