/*
 * floor: what a server would cost that does nothing but write(2).
 *
 *     floor CONNECTIONS FRAME STAMP MERGE
 *
 * Listens on a free loopback port and prints it. Reads FRAME bytes from its
 * standard input: one ready frame. Accepts CONNECTIONS and greets each. Then
 * each order on its input, 4 bytes of target (little endian, all ones for
 * everybody) and 32 bytes of stamp, puts the stamp into the frame at STAMP and
 * writes the frame to its target. Up to MERGE orders for everybody that have
 * come meanwhile are written together. The end of the input ends it.
 */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { STAMP = 32, ORDER = 4 + STAMP, ORDERS = 1024, BACKLOG = 4096 };

static const uint32_t everybody = 0xffffffff;
static const char greeting[] = "\x81\x10{\"type\":\"ready\"}";

static void check(int ok, const char *what) {
	if (!ok) {
		perror(what);
		exit(1);
	}
}

static void write_all(int fd, const char *p, size_t n) {
	while (n > 0) {
		ssize_t w = write(fd, p, n);
		check(w > 0, "write");
		p += w;
		n -= (size_t)w;
	}
}

static int listen_any(void) {
	struct sockaddr_in addr = {.sin_family = AF_INET};
	socklen_t size = sizeof addr;
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	check(fd >= 0, "socket");
	addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	check(bind(fd, (struct sockaddr *)&addr, size) == 0, "bind");
	check(listen(fd, BACKLOG) == 0, "listen");
	check(getsockname(fd, (struct sockaddr *)&addr, &size) == 0, "getsockname");
	printf("%d\n", ntohs(addr.sin_port));
	fflush(stdout);
	return fd;
}

static void raise_limit(void) {
	struct rlimit limit;
	check(getrlimit(RLIMIT_NOFILE, &limit) == 0, "getrlimit");
	limit.rlim_cur = limit.rlim_max;
	check(setrlimit(RLIMIT_NOFILE, &limit) == 0, "setrlimit");
}

int main(int argc, char **argv) {
	check(argc == 5, "floor CONNECTIONS FRAME STAMP MERGE");
	int connections = atoi(argv[1]), merge = atoi(argv[4]);
	size_t frame = (size_t)atoi(argv[2]), stamp = (size_t)atoi(argv[3]);
	static char orders[ORDERS * ORDER];
	size_t have = 0;

	raise_limit();
	int *fds = malloc((size_t)connections * sizeof *fds);
	char *frames = malloc(frame * (size_t)merge);
	check(fds && frames, "malloc");
	int listener = listen_any();
	for (size_t got = 0; got < frame;) {
		ssize_t n = read(0, frames + got, frame - got);
		check(n > 0, "read frame");
		got += (size_t)n;
	}
	for (int i = 1; i < merge; i++)
		memcpy(frames + frame * (size_t)i, frames, frame);

	for (int i = 0; i < connections; i++) {
		int on = 1;
		fds[i] = accept(listener, NULL, NULL);
		check(fds[i] >= 0, "accept");
		setsockopt(fds[i], IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
		write_all(fds[i], greeting, sizeof greeting - 1);
	}

	for (;;) {
		ssize_t n = read(0, orders + have, sizeof orders - have);
		if (n == 0)
			return 0;
		check(n > 0, "read orders");
		have += (size_t)n;
		size_t at = 0;
		while (have - at >= ORDER) {
			uint32_t target;
			int count = 0;
			memcpy(&target, orders + at, 4);
			do {
				memcpy(frames + frame * (size_t)count + stamp, orders + at + 4, STAMP);
				at += ORDER;
				count++;
			} while (target == everybody && count < merge && have - at >= ORDER &&
			         memcmp(orders + at, &everybody, 4) == 0);
			if (target != everybody) {
				write_all(fds[target % (uint32_t)connections], frames, frame);
				continue;
			}
			for (int i = 0; i < connections; i++)
				write_all(fds[i], frames, frame * (size_t)count);
		}
		have -= at;
		memmove(orders, orders + at, have);
	}
}
