// Reads a list of manifests from standard input and prints, for each, what Microsoft's rules find wrong with it.
// The package requires fs-extra and does not ask for it, so package.json does.
const { AppManifestUtils, TeamsManifestWrapper } = require("@microsoft/app-manifest");

// the package carries the schemas; an address of one that it lacks must fail here, and not be fetched
globalThis.fetch = async (url) => {
  throw new Error(`the package carries no schema ${url}`);
};

const pieces = [];
process.stdin.on("data", (piece) => pieces.push(piece));
process.stdin.on("end", async () => {
  const found = [];
  for (const manifest of JSON.parse(Buffer.concat(pieces))) {
    try {
      const problems = await AppManifestUtils.validateAgainstSchema(manifest);
      TeamsManifestWrapper.fromJSON(JSON.stringify(manifest));
      found.push(problems);
    } catch (error) {
      found.push([String(error)]);
    }
  }
  process.stdout.write(JSON.stringify(found));
});
