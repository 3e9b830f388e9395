// Asks by Ollama's library for Node, and prints what came as JSON: node node_ollama.mjs URL TEXTS
import { Ollama } from "ollama";

const client = new Ollama({ host: process.argv[2] });
const { models } = await client.list();
const { model } = models[0];
const messages = [{ role: "user", content: "Tell me a story about a brave fox." }];
const asked = { model, messages, options: { temperature: 0, num_predict: 16 } };
const told = { model };

const whole = await client.chat(asked);
told.plain = whole.message.content;
told.usage = whole.eval_count;
told.stream = "";
for await (const part of await client.chat({ ...asked, stream: true })) {
  told.stream += part.message.content;
}
const said = { model, prompt: messages[0].content, options: asked.options };
told.generate = (await client.generate(said)).response;
told.able = (await client.show({ model })).capabilities;
told.vectors = (await client.embed({ model, input: JSON.parse(process.argv[3]) })).embeddings;
try {
  await client.chat({ ...asked, think: true });
} catch (error) {
  told.refused = error.message;
}
console.log(JSON.stringify(told));
