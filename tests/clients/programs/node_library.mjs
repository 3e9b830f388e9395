// Asks by OpenAI's library for Node, and prints what came as JSON: node node_library.mjs URL TEXTS
import OpenAI from "openai";

const client = new OpenAI({ baseURL: process.argv[2], apiKey: "none", maxRetries: 0 });
const messages = [{ role: "user", content: "Tell me a story about a brave fox." }];
const asked = { model: "any", messages, temperature: 0, max_tokens: 16 };
const told = {};

const whole = await client.chat.completions.create(asked);
told.plain = whole.choices[0].message.content;
told.stream = "";
const options = { stream: true, stream_options: { include_usage: true } };
for await (const chunk of await client.chat.completions.create({ ...asked, ...options })) {
  told.stream += chunk.choices[0]?.delta.content ?? "";
  told.usage = chunk.usage?.completion_tokens;
}
told.accumulated = await client.chat.completions.stream(asked).finalContent();
const vectors = await client.embeddings.create({ model: "any", input: JSON.parse(process.argv[3]) });
told.vectors = vectors.data.map((one) => Array.from(one.embedding));
try {
  await client.chat.completions.create({ ...asked, temperature: -1 });
} catch (error) {
  told.refused = error.code;
}
console.log(JSON.stringify(told));
