// The JavaScript clients against a started server. Reads its address from the environment, prints one JSON object.
import { ClientSecretCredential } from "@azure/identity";
import { ConfidentialClientApplication } from "@azure/msal-node";
import { Client, PageIterator, BatchRequestContent, BatchResponseContent } from "@microsoft/microsoft-graph-client";

const { ROOT, TENANT, CLIENT_ID, CLIENT_SECRET } = process.env;
const host = new URL(ROOT).host;
const hostname = new URL(ROOT).hostname;
const scopes = ["https://graph.microsoft.com/.default"];
const out = {};

const known = new ConfidentialClientApplication({
  auth: { clientId: CLIENT_ID, clientSecret: CLIENT_SECRET, authority: `${ROOT}/${TENANT}`, knownAuthorities: [host] },
});
out.msal = Boolean((await known.acquireTokenByClientCredential({ scopes })).accessToken);

const credential = new ClientSecretCredential(TENANT, CLIENT_ID, CLIENT_SECRET, {
  authorityHost: ROOT,
  disableInstanceDiscovery: true,
});
const token = await credential.getToken(scopes[0]);
out.identity = token.expiresOnTimestamp > Date.now();

const client = Client.init({
  baseUrl: `${ROOT}/`,
  defaultVersion: "v1.0",
  customHosts: new Set([hostname]),
  authProvider: (done) => done(null, token.token),
});

const page = await client.api("/security/alerts_v2").filter("severity eq 'high'").top(2).count(true).get();
const ids = [];
await new PageIterator(client, page, (item) => ids.push(item.id) > 0).iterate();
out.paged = ids.length === new Set(ids).size && ids.length === page["@odata.count"];

const patched = await client
  .api(`/security/alerts/${ids[0]}`)
  .header("Prefer", "return=representation")
  .patch({ vendorInformation: { provider: "x", vendor: "x" }, tags: ["from node"] });
out.patched = patched.tags.includes("from node");

const batch = new BatchRequestContent([
  { id: "1", request: new Request(`${ROOT}/v1.0/security/secureScores?$top=1`, { method: "GET" }) },
  { id: "2", request: new Request(`${ROOT}/v1.0/users?$top=1`, { method: "GET" }), dependsOn: ["1"] },
]);
const answers = new BatchResponseContent(await client.api("/$batch").post(await batch.getContent()));
out.batch = [answers.getResponseById("1").status, answers.getResponseById("2").status];

try {
  await client.api("/security/alerts_v2/none").get();
} catch (error) {
  out.error = { status: error.statusCode, code: error.code, request: Boolean(error.requestId) };
}
console.log(JSON.stringify(out));
