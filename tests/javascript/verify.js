// Reads [{secret | public_key, headers, body}] with bodies in base64; writes for each whether a receiver takes it.
// Secrets: the reference library of Standard Webhooks. Public keys: node's own crypto, by the specification.
const crypto = require("node:crypto");
const fs = require("node:fs");
const { Webhook } = require("standardwebhooks");

const TOLERANCE_S = 300;

function bySecret({ secret, headers, body }) {
  try {
    new Webhook(secret).verify(Buffer.from(body, "base64"), headers);
    return true;
  } catch {
    return false;
  }
}

function byPublicKey({ public_key, headers, body }) {
  if (!(Math.abs(Date.now() / 1000 - Number(headers["webhook-timestamp"])) <= TOLERANCE_S)) return false;
  const x = Buffer.from(public_key.replace(/^whpk_/, ""), "base64").toString("base64url");
  const key = crypto.createPublicKey({ key: { kty: "OKP", crv: "Ed25519", x }, format: "jwk" });
  const head = `${headers["webhook-id"]}.${headers["webhook-timestamp"]}.`;
  const signed = Buffer.concat([Buffer.from(head), Buffer.from(body, "base64")]);
  return headers["webhook-signature"]
    .split(" ")
    .filter((one) => one.startsWith("v1a,"))
    .some((one) => crypto.verify(null, signed, key, Buffer.from(one.slice(4), "base64")));
}

const given = JSON.parse(fs.readFileSync(0, "utf8"));
process.stdout.write(JSON.stringify(given.map((one) => (one.secret ? bySecret(one) : byPublicKey(one)))));
