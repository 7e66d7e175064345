// Gives Node the WebSocket that browsers have.

import WebSocket from 'ws';

globalThis.WebSocket = WebSocket;
