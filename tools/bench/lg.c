/* lg: closed-loop HTTP/1.1 load, one thread, that believes no reply it has not read.
 *
 * Each of -c connections sends a request, waits for the whole reply, checks it, and sends the next. A reply counts only
 * when its status is 200 and its body is exactly what -e says; anything else is a failure, kept apart and shown.
 * Latencies are kept one by one, so percentiles are exact. It ends after -n requests or -d seconds, whichever is
 * first, and then waits for what is under way.
 *
 *     lg -a 127.0.0.1:8787 -H account.localhost -m POST -p /accounts/{key}/deposit -b '{"amount":1}' \
 *        -e '{"account":"{key}","balance":{number}}' -c 64 -d 4 -k 1000 -r
 *
 * -a address:port   -H Host header   -m method   -p path   -b body   -e expected body
 * -c connections    -d seconds       -n requests at most   -k number of keys   -x prefix of keys
 * -r                keys at random instead of in turn      -S seed
 * -R requests a second at most, spread evenly: a connection that has its reply waits for its turn
 * -L file of Host headers, one a line: a request gets that of its key's number instead of -H
 *
 * In -p and -e `{key}` is the request's key, PREFIX followed by a number below -k; in -e `{number}` is any JSON number.
 * Prints one line of JSON: counts, seconds, requests a second, and latencies in microseconds. Only for loopback.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    REQUEST_BYTES_MAX = 4096,
    REPLY_BYTES_MAX = 65536,
    KEY_BYTES_MAX = 96,
    EXPECTED_BYTES_MAX = 4096,
    CONNECTIONS_MAX = 4096,
    LOST_MAX = 1000, /* after so many lost connections the other side is not there any more */
    SHOWN_MAX = 200,
};
static const int64_t SECOND = 1000000000LL;
static const int64_t LAST_REPLIES_NS = 20 * 1000000000LL;

struct options {
    char **hosts;
    long host_count;
    const char *host, *method, *path, *body, *expected, *prefix;
    struct sockaddr_in address;
    int connections;
    double seconds, rate;
    long requests_max, keys;
    bool random;
};

struct connection {
    int fd;
    bool busy;
    long key;
    int64_t sent_at;
    size_t filled;
    char reply[REPLY_BYTES_MAX + 1];
};

struct totals {
    long sent, good, bad, lost;
    uint32_t *latency_100ns;
    size_t count, capacity;
    char first_bad[SHOWN_MAX + 1];
};

struct head {
    int status;
    size_t body_at, body_length;
    bool chunked, closes;
};

static struct options opt = {.host = "localhost", .method = "GET", .path = "/", .body = "", .expected = "",
                             .prefix = "k", .connections = 1, .seconds = 4, .requests_max = -1, .keys = 1};
static struct totals total;
static uint64_t random_state = 88172645463325252ULL;
static int poller;

static void die(const char *what) {
    fprintf(stderr, "lg: %s: %s\n", what, strerror(errno));
    exit(2);
}

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * SECOND + t.tv_nsec;
}

static uint64_t next_random(void) { /* xorshift64 */
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

/* Copies `text` with every {key} replaced. Returns the length; dies when it does not fit. */
static size_t fill(const char *text, const char *key, char *out, size_t size) {
    size_t length = 0, key_length = strlen(key);
    while (*text) {
        bool slot = strncmp(text, "{key}", 5) == 0;
        size_t step = slot ? key_length : 1;
        if (length + step >= size) { errno = E2BIG; die("request or expected body"); }
        memcpy(out + length, slot ? key : text, step);
        length += step;
        text += slot ? 5 : 1;
    }
    out[length] = 0;
    return length;
}

static void key_text(long key, char *out) { snprintf(out, KEY_BYTES_MAX, "%s%ld", opt.prefix, key); }

static bool open_connection(struct connection *c) {
    int one = 1;
    c->busy = false;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0) die("socket");
    if (connect(c->fd, (struct sockaddr *)&opt.address, sizeof opt.address)) {
        close(c->fd);
        c->fd = -1;
        return false;
    }
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, c->fd, &event)) die("epoll_ctl");
    return true;
}

static void send_request(struct connection *c) {
    char key[KEY_BYTES_MAX], path[1024], out[REQUEST_BYTES_MAX];
    c->key = opt.random ? (long)(next_random() % (uint64_t)opt.keys) : total.sent % opt.keys;
    key_text(c->key, key);
    fill(opt.path, key, path, sizeof path);
    const char *host = opt.hosts ? opt.hosts[c->key % opt.host_count] : opt.host;
    int length;
    if (*opt.body)
        length = snprintf(out, sizeof out,
                          "%s %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
                          opt.method, path, host, strlen(opt.body), opt.body);
    else
        length = snprintf(out, sizeof out, "%s %s HTTP/1.1\r\nHost: %s\r\n\r\n", opt.method, path, host);
    if (length >= (int)sizeof out) { errno = E2BIG; die("request"); }
    c->filled = 0;
    c->busy = true;
    total.sent++;
    c->sent_at = now_ns();
    /* A request is far smaller than a socket's buffer, which is empty here; a short write means the peer is gone, and
       the read that follows says so. */
    if (send(c->fd, out, (size_t)length, MSG_NOSIGNAL) != length) shutdown(c->fd, SHUT_RDWR);
}

/* Reads the lines of -L. Dies when there are none. */
static void read_hosts(const char *name) {
    FILE *file = fopen(name, "r");
    if (!file) die(name);
    char *line = NULL;
    size_t size = 0;
    for (ssize_t length; (length = getline(&line, &size, file)) > 0;) {
        line[length - (line[length - 1] == '\n')] = 0;
        opt.hosts = realloc(opt.hosts, (size_t)(opt.host_count + 1) * sizeof *opt.hosts);
        if (!opt.hosts || !(opt.hosts[opt.host_count++] = strdup(line))) die("memory");
    }
    free(line);
    fclose(file);
    if (!opt.host_count) { errno = EINVAL; die("-L"); }
}

static const char *header(const char *head, const char *name) {
    size_t length = strlen(name);
    for (const char *line = strstr(head, "\r\n"); line; line = strstr(line, "\r\n")) {
        line += 2;
        if (strncasecmp(line, name, length) == 0 && line[length] == ':') {
            line += length + 1;
            while (*line == ' ') line++;
            return line;
        }
    }
    return NULL;
}

/* True when the head of the reply is complete. */
static bool read_head(struct connection *c, struct head *head) {
    c->reply[c->filled] = 0;
    char *end = strstr(c->reply, "\r\n\r\n");
    if (!end) return false;
    end[2] = 0; /* keeps header() inside the head; put back below */
    const char *length = header(c->reply, "content-length"), *coding = header(c->reply, "transfer-encoding"),
               *linger = header(c->reply, "connection");
    head->status = c->filled > 12 ? atoi(c->reply + 9) : 0;
    head->body_length = length ? strtoul(length, NULL, 10) : 0;
    head->chunked = coding && strncasecmp(coding, "chunked", 7) == 0;
    head->closes = linger && strncasecmp(linger, "close", 5) == 0;
    end[2] = '\r';
    head->body_at = (size_t)(end + 4 - c->reply);
    return true;
}

/* Joins the chunks in place. True when the last one is there; `length` is then that of the joined body. */
static bool join_chunks(char *body, size_t available, char *joined, size_t *length) {
    size_t at = 0;
    *length = 0;
    for (;;) {
        char *line_end = memmem(body + at, available - at, "\r\n", 2);
        if (!line_end) return false;
        size_t size = strtoul(body + at, NULL, 16);
        at = (size_t)(line_end + 2 - body);
        if (available - at < size + 2) return false;
        if (size == 0) return true;
        memcpy(joined + *length, body + at, size);
        *length += size;
        at += size + 2;
    }
}

static const char *skip_number(const char *text) {
    const char *start = text;
    if (*text == '-') text++;
    const char *digits = text;
    while (*text >= '0' && *text <= '9') text++;
    if (text == digits) return start;
    if (*text == '.') {
        text++;
        while (*text >= '0' && *text <= '9') text++;
    }
    if (*text == 'e' || *text == 'E') {
        text++;
        if (*text == '+' || *text == '-') text++;
        while (*text >= '0' && *text <= '9') text++;
    }
    return text;
}

static bool as_expected(const char *body, size_t length, long key_number) {
    char key[KEY_BYTES_MAX], expected[EXPECTED_BYTES_MAX];
    key_text(key_number, key);
    fill(opt.expected, key, expected, sizeof expected);
    if (strlen(body) != length) return false;
    for (const char *e = expected; *e;) {
        if (strncmp(e, "{number}", 8) == 0) {
            const char *after = skip_number(body);
            if (after == body) return false;
            body = after;
            e += 8;
        } else if (*e++ != *body++) {
            return false;
        }
    }
    return *body == 0;
}

static void record(int64_t ns) {
    if (total.count == total.capacity) {
        total.capacity = total.capacity ? total.capacity * 2 : 1 << 16;
        total.latency_100ns = realloc(total.latency_100ns, total.capacity * sizeof *total.latency_100ns);
        if (!total.latency_100ns) die("memory");
    }
    int64_t tenths = ns / 100;
    total.latency_100ns[total.count++] = tenths > UINT32_MAX ? UINT32_MAX : (uint32_t)tenths;
}

static void show_bad(int status, const char *body) {
    if (total.first_bad[0]) return;
    snprintf(total.first_bad, sizeof total.first_bad, "status %d: %s", status, body);
    for (char *p = total.first_bad; *p; p++)
        if (*p == '"' || *p == '\\' || (unsigned char)*p < 32 || (unsigned char)*p > 126) *p = '\'';
}

/* Handles a complete reply, if there is one. Returns false while more must be read. */
static bool take_reply(struct connection *c, bool *closes) {
    static char joined[REPLY_BYTES_MAX + 1];
    struct head head;
    if (!read_head(c, &head)) return false;
    char *body = c->reply + head.body_at;
    size_t available = c->filled - head.body_at, length = head.body_length;
    if (head.chunked) {
        if (!join_chunks(body, available, joined, &length)) return false;
        body = joined;
    } else if (available < length) {
        return false;
    }
    body[length] = 0;
    record(now_ns() - c->sent_at);
    if (head.status == 200 && as_expected(body, length, c->key)) {
        total.good++;
    } else {
        total.bad++;
        show_bad(head.status, body);
    }
    *closes = head.closes;
    return true;
}

static int compare(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* Nearest rank: the smallest latency that at least `share` of all are not above. */
static double percentile_us(double share) {
    if (!total.count) return 0;
    size_t rank = (size_t)(share * (double)total.count);
    if ((double)rank < share * (double)total.count) rank++;
    return total.latency_100ns[rank ? rank - 1 : 0] / 10.0;
}

static void parse_options(int count, char **values) {
    opt.address.sin_family = AF_INET;
    for (int o; (o = getopt(count, values, "a:H:m:p:b:e:c:d:n:k:x:rS:L:R:")) > 0;) switch (o) {
        case 'a': {
            char *colon = strrchr(optarg, ':');
            if (!colon) { errno = EINVAL; die("-a"); }
            *colon = 0;
            opt.address.sin_port = htons((uint16_t)atoi(colon + 1));
            if (inet_pton(AF_INET, optarg, &opt.address.sin_addr) != 1 || strncmp(optarg, "127.", 4)) {
                errno = EINVAL;
                die("-a must be a loopback address");
            }
            break;
        }
        case 'H': opt.host = optarg; break;
        case 'L': read_hosts(optarg); break;
        case 'R': opt.rate = atof(optarg); break;
        case 'm': opt.method = optarg; break;
        case 'p': opt.path = optarg; break;
        case 'b': opt.body = optarg; break;
        case 'e': opt.expected = optarg; break;
        case 'c': opt.connections = atoi(optarg); break;
        case 'd': opt.seconds = atof(optarg); break;
        case 'n': opt.requests_max = atol(optarg); break;
        case 'k': opt.keys = atol(optarg); break;
        case 'x': opt.prefix = optarg; break;
        case 'r': opt.random = true; break;
        case 'S': random_state ^= strtoull(optarg, NULL, 10) * 0x9E3779B97F4A7C15ULL; break;
        default: exit(2);
        }
    if (opt.connections < 1 || opt.connections > CONNECTIONS_MAX || opt.keys < 1) { errno = EINVAL; die("-c or -k"); }
    for (int i = 0; i < 16; i++) next_random(); /* seeds that differ little drift apart */
}

static bool may_send(int64_t end) { return now_ns() < end && (opt.requests_max < 0 || total.sent < opt.requests_max); }

/* Those that wait for their turn, first come first served: each is in it once, so it never overflows. */
static struct connection *idle[CONNECTIONS_MAX];
static int idle_first, idle_count;

static void push_idle(struct connection *c) { idle[(idle_first + idle_count++) % CONNECTIONS_MAX] = c; }

static struct connection *pop_idle(void) {
    struct connection *c = idle[idle_first];
    idle_first = (idle_first + 1) % CONNECTIONS_MAX;
    idle_count--;
    return c;
}

/* With -R, request number n is sent n / rate seconds after the start, or later. */
static bool is_turn(int64_t start) {
    return opt.rate <= 0 || (double)(now_ns() - start) >= (double)total.sent / opt.rate * (double)SECOND;
}

int main(int count, char **values) {
    parse_options(count, values);
    poller = epoll_create1(EPOLL_CLOEXEC);
    struct connection *all = calloc((size_t)opt.connections, sizeof *all);
    if (!all) die("memory");
    for (int i = 0; i < opt.connections; i++)
        if (!open_connection(&all[i])) die("connect");
    int64_t start = now_ns(), end = start + (int64_t)(opt.seconds * (double)SECOND), last = start;
    int under_way = 0;
    for (int i = 0; i < opt.connections; i++) push_idle(&all[i]);
    struct epoll_event events[256];
    for (;;) {
        while (idle_count && may_send(end) && is_turn(start)) {
            struct connection *c = pop_idle();
            if (c->fd < 0) continue; /* it was closed, and could not be opened again */
            send_request(c);
            under_way++;
        }
        bool waits = idle_count && may_send(end);
        if ((!under_way && !waits) || now_ns() >= end + LAST_REPLIES_NS) break;
        int ready = epoll_wait(poller, events, 256, waits ? 1 : 200);
        for (int i = 0; i < ready; i++) {
            struct connection *c = events[i].data.ptr;
            ssize_t got = read(c->fd, c->reply + c->filled, REPLY_BYTES_MAX - c->filled);
            if (got < 0 && (errno == EAGAIN || errno == EINTR)) continue;
            bool closes = false, was_busy = c->busy;
            if (got > 0) {
                c->filled += (size_t)got;
                if (!c->busy || !take_reply(c, &closes)) continue;
                last = now_ns();
            } else {
                closes = true;
                if (c->busy) total.lost++;
            }
            if (was_busy) under_way--;
            c->busy = false;
            if (closes) {
                close(c->fd);
                c->fd = -1;
                if (total.lost > LOST_MAX || !open_connection(c)) continue;
            }
            if (was_busy) push_idle(c);
        }
    }
    double seconds = (double)(last - start) / (double)SECOND;
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    qsort(total.latency_100ns, total.count, sizeof *total.latency_100ns, compare);
    printf("{\"sent\":%ld,\"good\":%ld,\"bad\":%ld,\"lost\":%ld,\"unanswered\":%d,\"seconds\":%.6f,"
           "\"requests_per_s\":%.2f,\"p50_us\":%.1f,\"p99_us\":%.1f,\"max_us\":%.1f,\"cpu_s\":%.3f,\"first_bad\":\"%s\"}\n",
           total.sent, total.good, total.bad, total.lost, under_way, seconds,
           seconds > 0 ? (double)total.good / seconds : 0.0, percentile_us(0.50), percentile_us(0.99),
           percentile_us(1.0),
           (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
               (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6,
           total.first_bad);
    return 0;
}
