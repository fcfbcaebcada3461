/* The least an engine can do, for comparison: ICMP echo to every address of a file once a second, IPv4.
 *
 * The batching of probes/engine and nothing else: phases on a grid of ticks, one sendmmsg a tick, replies and transmit
 * stamps read with recvmmsg every `drain` ms, kernel stamps both ways, the round trip of each answered packet summed.
 * No nonce, no errors told, no second family, no statistics, no store.
 *
 * limit_engine TARGETS TICK_MS DRAIN_MS; ends when standard input does and prints sent, received and the mean in ns.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <linux/errqueue.h>
#include <linux/filter.h>
#include <linux/net_tstamp.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { SIZE = 64, ROWS = 512, CONTROL = 192, RING = 16, TOKENS = 1 << 16, MOST = 1 << 17 };

struct stream {
	struct sockaddr_in to;
	uint32_t sequence;
	int64_t left_ns[RING];
	uint32_t number[RING];
};

static struct stream *streams;
static int count, *order, *edge; /* streams by phase; where the streams of each tick of the period begin */
static uint64_t token[TOKENS];
static uint32_t stamps, identifier;
static long sent, received;
static int64_t total_ns;
static unsigned char out[MOST][SIZE], in[ROWS][SIZE + 60], control[ROWS][CONTROL];
static struct mmsghdr outgoing[MOST], incoming[ROWS];
static struct iovec outgoing_vector[MOST], incoming_vector[ROWS];

static int64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static uint16_t checksum(const unsigned char *data)
{
	const uint16_t *word = (const uint16_t *)data;
	uint32_t sum = 0;
	for (int i = 0; i < SIZE / 2; i++)
		sum += word[i];
	sum = (sum >> 16) + (sum & 0xffff);
	return ~(sum + (sum >> 16));
}

static void send_tick(int descriptor, int tick)
{
	int n = 0;
	for (int at = edge[tick]; at < edge[tick + 1]; at++, n++) {
		struct stream *s = &streams[order[at]];
		uint32_t sequence = s->sequence++;
		unsigned char *p = out[n];
		p[0] = ICMP_ECHO;
		p[2] = p[3] = 0;
		memcpy(p + 4, &identifier, 2);
		memcpy(p + 8, &order[at], 4);
		memcpy(p + 12, &sequence, 4);
		uint16_t sum = checksum(p);
		memcpy(p + 2, &sum, 2);
		outgoing[n].msg_hdr.msg_name = &s->to;
		s->number[sequence % RING] = sequence;
		s->left_ns[sequence % RING] = 0;
	}
	for (int done = 0; done < n;) {
		int k = sendmmsg(descriptor, outgoing + done, n - done, MSG_DONTWAIT);
		if (k <= 0)
			break;
		for (int i = done; i < done + k; i++) {
			uint32_t *fields = (uint32_t *)out[i];
			token[stamps++ % TOKENS] = (uint64_t)fields[2] << 32 | fields[3];
		}
		done += k;
		sent += k;
	}
}

static int64_t stamp_of(struct msghdr *m, uint32_t *datagram)
{
	int64_t stamp = 0;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SO_TIMESTAMPING) {
			struct timespec *t = (struct timespec *)CMSG_DATA(c);
			stamp = t->tv_sec * 1000000000LL + t->tv_nsec;
		} else if (datagram && c->cmsg_level == SOL_IP && c->cmsg_type == IP_RECVERR) {
			*datagram = ((struct sock_extended_err *)CMSG_DATA(c))->ee_data;
		}
	}
	return stamp;
}

static int read_batch(int descriptor, int flags)
{
	for (int i = 0; i < ROWS; i++)
		incoming[i].msg_hdr.msg_controllen = CONTROL;
	return recvmmsg(descriptor, incoming, ROWS, flags | MSG_DONTWAIT, NULL);
}

static void drain(int descriptor)
{
	int n;
	while ((n = read_batch(descriptor, MSG_ERRQUEUE)) > 0)
		for (int i = 0; i < n; i++) {
			uint32_t datagram = 0;
			int64_t stamp = stamp_of(&incoming[i].msg_hdr, &datagram);
			uint64_t which = token[datagram % TOKENS];
			streams[which >> 32].left_ns[(uint32_t)which % RING] = stamp;
		}
	while ((n = read_batch(descriptor, 0)) > 0)
		for (int i = 0; i < n; i++) {
			unsigned char *p = in[i] + 4 * (in[i][0] & 15);
			uint32_t fields[4];
			memcpy(fields, p, 16);
			int64_t stamp = stamp_of(&incoming[i].msg_hdr, NULL);
			if (p[0] != ICMP_ECHOREPLY || fields[2] >= (uint32_t)count)
				continue;
			struct stream *s = &streams[fields[2]];
			if (s->number[fields[3] % RING] == fields[3] && s->left_ns[fields[3] % RING]) {
				received++;
				total_ns += stamp - s->left_ns[fields[3] % RING];
				s->left_ns[fields[3] % RING] = 0;
			}
		}
}

static int open_socket(void)
{
	int descriptor = socket(AF_INET, SOCK_RAW, IPPROTO_ICMP), on = 1, buffer = 8 << 20;
	uint32_t blocked = ~(1u << ICMP_ECHOREPLY);
	int stamping = SOF_TIMESTAMPING_TX_SOFTWARE | SOF_TIMESTAMPING_RX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE |
		       SOF_TIMESTAMPING_OPT_ID | SOF_TIMESTAMPING_OPT_TSONLY;
	struct sock_filter ours[] = {
		BPF_STMT(BPF_LDX | BPF_B | BPF_MSH, 0), BPF_STMT(BPF_LD | BPF_H | BPF_IND, 4),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ntohs(identifier), 0, 1), BPF_STMT(BPF_RET | BPF_K, 0x40000),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};
	struct sock_fprog program = { 5, ours };
	if (descriptor < 0 || setsockopt(descriptor, 255, 1, &blocked, 4) ||
	    setsockopt(descriptor, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) ||
	    setsockopt(descriptor, SOL_IP, IP_RECVERR, &on, 4) ||
	    setsockopt(descriptor, SOL_SOCKET, SO_TIMESTAMPING, &stamping, 4) ||
	    setsockopt(descriptor, SOL_SOCKET, SO_RCVBUFFORCE, &buffer, 4)) {
		perror("limit_engine");
		exit(1);
	}
	return descriptor;
}

static void load(const char *path, int ticks)
{
	char line[64];
	FILE *file = fopen(path, "r");
	streams = calloc(MOST, sizeof *streams);
	while (file && count < MOST && fgets(line, sizeof line, file)) {
		line[strcspn(line, "\n")] = 0;
		streams[count].to.sin_family = AF_INET;
		inet_pton(AF_INET, line, &streams[count++].to.sin_addr);
	}
	order = calloc(count, sizeof *order);
	edge = calloc(ticks + 1, sizeof *edge);
	for (int tick = 0, at = 0; tick < ticks; tick++, edge[tick] = at)
		for (int i = 0; i < count; i++) {
			double phase = i * 0.6180339887498949;
			if ((int)((phase - (long)phase) * ticks) == tick)
				order[at++] = i;
		}
	for (int i = 0; i < MOST; i++) {
		outgoing_vector[i] = (struct iovec){ out[i], SIZE };
		outgoing[i].msg_hdr = (struct msghdr){ .msg_namelen = sizeof(struct sockaddr_in),
						       .msg_iov = &outgoing_vector[i], .msg_iovlen = 1 };
	}
	for (int i = 0; i < ROWS; i++) {
		incoming_vector[i] = (struct iovec){ in[i], sizeof in[i] };
		incoming[i].msg_hdr = (struct msghdr){ .msg_iov = &incoming_vector[i], .msg_iovlen = 1,
						       .msg_control = control[i] };
	}
}

int main(int argc, char **argv)
{
	if (argc != 4)
		return 2;
	int64_t tick_ns = atoll(argv[2]) * 1000000, drain_ns = atoll(argv[3]) * 1000000;
	int ticks = 1000000000 / tick_ns;
	identifier = htons(getpid() & 0xffff);
	load(argv[1], ticks);
	int descriptor = open_socket();
	prctl(PR_SET_TIMERSLACK, 1);
	struct pollfd input = { 0, POLLIN, 0 };
	int64_t at = now_ns() / tick_ns * tick_ns, drained = at;
	for (long tick = 0;; tick++) {
		at += tick_ns;
		struct timespec until = { at / 1000000000, at % 1000000000 };
		while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL))
			;
		send_tick(descriptor, tick % ticks);
		if (at >= drained + drain_ns) {
			drained = at;
			drain(descriptor);
			if (poll(&input, 1, 0))
				break;
		}
	}
	usleep(200000);
	drain(descriptor);
	printf("%ld %ld %ld\n", sent, received, received ? (long)(total_ns / received) : 0);
	return 0;
}
