// Starts `plan lsp` and hands the editor's questions to it; all that is known of plans is known there.
"use strict";

const { commands, window, workspace } = require("vscode");
const { LanguageClient, TransportKind } = require("vscode-languageclient/node");

let client;

/** The program and its arguments, from the settings. */
function server() {
  const settings = workspace.getConfiguration("backplan");
  const params = Object.entries(settings.get("params", {})).flatMap(([name, value]) => ["-p", `${name}=${value}`]);
  return { command: settings.get("path", "plan"), args: [...params, "lsp"], transport: TransportKind.stdio };
}

async function start() {
  const options = {
    documentSelector: [
      { scheme: "file", language: "plan" },
      { scheme: "untitled", language: "plan" },
    ],
    outputChannelName: "Backplan",
  };
  client = new LanguageClient("backplan", "Backplan", server(), options);
  try {
    await client.start();
  } catch (error) {
    const path = workspace.getConfiguration("backplan").get("path", "plan");
    window.showErrorMessage(`Backplan: \`${path} lsp\` cannot be started (${error.message}); see the setting backplan.path.`);
  }
}

async function stop() {
  const stopping = client;
  client = undefined;
  // A client that never came up cannot be stopped, and need not be.
  await stopping?.stop().catch(() => {});
}

async function restart() {
  await stop();
  await start();
}

async function activate(context) {
  context.subscriptions.push(
    commands.registerCommand("backplan.restart", restart),
    workspace.onDidChangeConfiguration((change) => (change.affectsConfiguration("backplan") ? restart() : undefined)),
  );
  await start();
}

module.exports = { activate, deactivate: stop };
