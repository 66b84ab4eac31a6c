/* A completions server that knows what it did: one thread, epoll, HTTP/1.1, OpenAI's event stream.
 *
 * It sends each request's first token TTFT after the kernel had the request, and one more every ITL, at absolute times;
 * with --itl-us 0 all tokens follow at once. A body with "stream":false, or none, is answered at once in one piece.
 * When its standard input closes it writes what it did, one line a request, and ends:
 *     id received_ns sent_ns sent_ns …
 * in nanoseconds of CLOCK_MONOTONIC: the kernel's receive time of the request (SO_TIMESTAMPNS), and the time just before
 * each token's send().
 *
 * With --cert and --key it speaks TLS, if it was compiled with -DTLS -lssl -lcrypto; a token's time is then taken after
 * its encryption, and the kernel's time of a request is that of the last bytes of its last record.
 *
 * Usage: truth_server --ttft-us 50000 --itl-us 10000 --tokens 128 --log FILE [--limit-seconds 120] [--awake 1] [--cert FILE --key FILE]
 * It prints "port N" when it listens on a loopback port of the kernel's choice.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#ifdef TLS
#include <openssl/ssl.h>
static SSL_CTX *tls_context;
#endif

#define MOST_FDS 8192
#define MOST_REQUEST 262144
#define ID_BYTES 64

typedef struct {
    char id[ID_BYTES];
    int64_t received;
    int tokens;
    int64_t *sent;
} Exchange;

typedef struct {
    int fd, heap_place, next_token;
    int64_t due, arrived;
    size_t length;
    char *request;
    Exchange *exchange;
    char *unsent;
    size_t unsent_length;
#ifdef TLS
    SSL *tls;
#endif
} Stream;

static Stream *streams[MOST_FDS], *heap[MOST_FDS];
static int heap_size, epoll_fd, token_count = 128;
static int64_t ttft_ns = 50000000, itl_ns = 10000000;
static Exchange *log_entries;
static size_t log_size, log_room;

static const char HEAD[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
static const char TOKEN[] =
    "data: {\"id\":\"truth\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"truth\",\"choices\":[{\"index\":0,"
    "\"delta\":{\"content\":\"token \"},\"finish_reason\":null}]}\n\n";
static char end_chunk[1024], token_chunk[512], whole_reply[1024];
static int end_length, token_length, whole_length;

static int64_t monotonic(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int64_t wall(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* From the wall clock to ours: the narrowest of five readings between two of the other clock. */
static int64_t wall_to_monotonic(int64_t at) {
    int64_t best = INT64_MAX, offset = 0;
    for (int i = 0; i < 5; i++) {
        int64_t before = monotonic(), now = wall(), after = monotonic();
        if (after - before < best) best = after - before, offset = (before + after) / 2 - now;
    }
    return at + offset;
}

static void heap_move(int place, Stream *stream) { heap[place] = stream; stream->heap_place = place; }

static void heap_up(int place) {
    Stream *stream = heap[place];
    for (int parent; place > 0 && heap[parent = (place - 1) / 2]->due > stream->due; place = parent) heap_move(place, heap[parent]);
    heap_move(place, stream);
}

static void heap_down(int place) {
    Stream *stream = heap[place];
    for (;;) {
        int child = 2 * place + 1;
        if (child >= heap_size) break;
        if (child + 1 < heap_size && heap[child + 1]->due < heap[child]->due) child++;
        if (heap[child]->due >= stream->due) break;
        heap_move(place, heap[child]);
        place = child;
    }
    heap_move(place, stream);
}

static void heap_add(Stream *stream) { heap[heap_size] = stream; heap_up(heap_size++); }

static void heap_remove(Stream *stream) {
    int place = stream->heap_place;
    if (place < 0) return;
    Stream *last = heap[--heap_size];
    stream->heap_place = -1;
    if (last == stream) return;
    heap_move(place, last);
    heap_up(place);
    heap_down(last->heap_place);
}

static void watch(Stream *stream, uint32_t events) {
    struct epoll_event event = {.events = events, .data.fd = stream->fd};
    epoll_ctl(epoll_fd, EPOLL_CTL_MOD, stream->fd, &event);
}

static void drop(Stream *stream) {
    heap_remove(stream);
    close(stream->fd);
#ifdef TLS
    SSL_free(stream->tls);
#endif
    streams[stream->fd] = NULL;
    free(stream->request);
    free(stream->unsent);
    free(stream);
}

/* Sends, and keeps for later what the socket does not take. Returns -1 when the client is gone. */
static int emit_bytes(Stream *stream, const char *data, size_t length) {
    ssize_t count = 0;
    if (!stream->unsent_length) {
        count = send(stream->fd, data, length, MSG_NOSIGNAL);
        if (count < 0) {
            if (errno != EAGAIN) return -1;
            count = 0;
        }
    }
    if ((size_t)count < length) {
        size_t left = length - count;
        stream->unsent = realloc(stream->unsent, stream->unsent_length + left);
        memcpy(stream->unsent + stream->unsent_length, data + count, left);
        stream->unsent_length += left;
        watch(stream, EPOLLIN | EPOLLOUT);
    }
    return 0;
}

#ifdef TLS
/* Sends the records that TLS has made; *at is the time just before. */
static int emit_records(Stream *stream, int64_t *at) {
    char *records;
    long length = BIO_get_mem_data(SSL_get_wbio(stream->tls), &records);
    *at = monotonic();
    if (length > 0 && emit_bytes(stream, records, length)) return -1;
    BIO_reset(SSL_get_wbio(stream->tls));
    return 0;
}
#endif

/* Sends; *at is the time just before. */
static int emit(Stream *stream, const char *data, size_t length, int64_t *at) {
#ifdef TLS
    if (stream->tls) return SSL_write(stream->tls, data, length) == (int)length ? emit_records(stream, at) : -1;
#endif
    *at = monotonic();
    return emit_bytes(stream, data, length);
}

static int flush(Stream *stream) {
    ssize_t count = send(stream->fd, stream->unsent, stream->unsent_length, MSG_NOSIGNAL);
    if (count < 0) return errno == EAGAIN ? 0 : -1;
    memmove(stream->unsent, stream->unsent + count, stream->unsent_length - count);
    stream->unsent_length -= count;
    if (!stream->unsent_length) watch(stream, EPOLLIN);
    return 0;
}

static Exchange *log_entry(const char *id, size_t length, int64_t received, int tokens) {
    if (log_size == log_room) log_entries = realloc(log_entries, (log_room = log_room * 2 + 1024) * sizeof *log_entries);
    Exchange *entry = &log_entries[log_size++];
    snprintf(entry->id, ID_BYTES, "%.*s", (int)length, id);
    entry->received = received;
    entry->tokens = tokens;
    entry->sent = calloc(tokens, sizeof(int64_t));
    return entry;
}

/* The log moves when it grows, so a stream remembers an index. */
static Exchange *entry_of(Stream *stream) { return &log_entries[(size_t)(uintptr_t)stream->exchange]; }

static int send_burst(Stream *stream) {
    size_t length = sizeof HEAD - 1 + (size_t)token_length * token_count + end_length;
    char *burst = malloc(length), *at = burst;
    memcpy(at, HEAD, sizeof HEAD - 1), at += sizeof HEAD - 1;
    for (int i = 0; i < token_count; i++, at += token_length) memcpy(at, token_chunk, token_length);
    memcpy(at, end_chunk, end_length);
    int64_t now;
    int result = emit(stream, burst, length, &now);
    for (int i = 0; i < token_count; i++) entry_of(stream)->sent[i] = now;
    free(burst);
    return result;
}

/* Sends the token that is due. The first one goes with the head, the last one is followed by the end in a write of its own. */
static int send_token(Stream *stream) {
    int number = stream->next_token++;
    char first[sizeof HEAD + sizeof token_chunk];
    const char *data = token_chunk;
    size_t length = token_length;
    if (number == 0) {
        memcpy(first, HEAD, sizeof HEAD - 1);
        memcpy(first + sizeof HEAD - 1, token_chunk, token_length);
        data = first, length += sizeof HEAD - 1;
    }
    if (emit(stream, data, length, &entry_of(stream)->sent[number])) return -1;
    heap_remove(stream);
    int64_t end;
    if (stream->next_token == token_count) return emit(stream, end_chunk, end_length, &end);
    stream->due += itl_ns;
    heap_add(stream);
    return 0;
}

static const char *header(const char *head, const char *end, const char *name, size_t *length) {
    size_t size = strlen(name);
    for (const char *line = head; line < end;) {
        const char *stop = memmem(line, end - line, "\r\n", 2);
        if (!stop) stop = end;
        if ((size_t)(stop - line) > size && !strncasecmp(line, name, size) && line[size] == ':') {
            const char *value = line + size + 1;
            while (value < stop && *value == ' ') value++;
            *length = stop - value;
            return value;
        }
        line = stop + 2;
    }
    return NULL;
}

static int answer(Stream *stream, const char *head, const char *end, const char *body, size_t body_length) {
    size_t length = 0;
    const char *id = header(head, end, "x-request-id", &length);
    int streamed = memmem(body, body_length, "\"stream\":true", 13) != NULL;
    stream->exchange = (Exchange *)(uintptr_t)log_size;
    log_entry(id ? id : "", length, wall_to_monotonic(stream->arrived), streamed ? token_count : 1);
    if (!streamed) return emit(stream, whole_reply, whole_length, &entry_of(stream)->sent[0]);
    stream->next_token = 0;
    if (!itl_ns && !ttft_ns) return send_burst(stream);
    stream->due = entry_of(stream)->received + ttft_ns;
    heap_add(stream);
    return 0;
}

#ifdef TLS
/* Takes what one read brought, agrees on keys, and puts the plain text behind what there is of the request. */
static int decrypt(Stream *stream, const char *records, int length) {
    int64_t at;
    int result = 0;
    BIO_write(SSL_get_rbio(stream->tls), records, length);
    if (!SSL_is_init_finished(stream->tls)) result = SSL_do_handshake(stream->tls);
    if (SSL_is_init_finished(stream->tls))
        while (stream->length < MOST_REQUEST &&
               (result = SSL_read(stream->tls, stream->request + stream->length, MOST_REQUEST - stream->length)) > 0)
            stream->length += result;
    int error = SSL_get_error(stream->tls, result);
    return emit_records(stream, &at) || (error != SSL_ERROR_NONE && error != SSL_ERROR_WANT_READ) ? -1 : 0;
}

static void prepare_tls(const char *certificate, const char *key) {
    tls_context = SSL_CTX_new(TLS_server_method());
    if (SSL_CTX_use_certificate_file(tls_context, certificate, SSL_FILETYPE_PEM) != 1) exit(2);
    if (SSL_CTX_use_PrivateKey_file(tls_context, key, SSL_FILETYPE_PEM) != 1) exit(2);
}

static void begin_tls(Stream *stream) {
    if (!tls_context) return;
    stream->tls = SSL_new(tls_context);
    SSL_set_bio(stream->tls, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    SSL_set_accept_state(stream->tls);
}
#endif

static int read_request(Stream *stream) {
    char control[256];
    struct iovec part = {stream->request + stream->length, MOST_REQUEST - stream->length};
#ifdef TLS
    char records[65536];
    if (stream->tls) part.iov_base = records, part.iov_len = sizeof records;
#endif
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    ssize_t count = recvmsg(stream->fd, &message, 0);
    if (count <= 0) return count < 0 && errno == EAGAIN ? 0 : -1;
    stream->arrived = wall();
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c))
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SO_TIMESTAMPNS) {
            struct timespec t;
            memcpy(&t, CMSG_DATA(c), sizeof t);
            stream->arrived = (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
        }
#ifdef TLS
    if (stream->tls) {
        if (decrypt(stream, records, count)) return -1;
    } else
#endif
        stream->length += count;
    const char *end = memmem(stream->request, stream->length, "\r\n\r\n", 4);
    if (!end) return stream->length < MOST_REQUEST ? 0 : -1;
    size_t value_length, body_length = 0, head_length = end + 4 - stream->request;
    const char *value = header(stream->request, end, "content-length", &value_length);
    if (value) body_length = strtoul(value, NULL, 10);
    if (head_length + body_length > MOST_REQUEST) return -1;
    if (stream->length < head_length + body_length) return 0;
    int result = answer(stream, stream->request, end, end + 4, body_length);
    stream->length = 0;
    return result;
}

static void accept_all(int listener) {
    for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0;) {
        if (fd >= MOST_FDS) {
            close(fd);
            continue;
        }
        int on = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on);
        Stream *stream = calloc(1, sizeof *stream);
        stream->fd = fd;
        stream->heap_place = -1;
        stream->request = malloc(MOST_REQUEST);
#ifdef TLS
        begin_tls(stream);
#endif
        streams[fd] = stream;
        struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
        epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event);
    }
}

static int chunked(char *out, size_t room, const char *text) {
    return snprintf(out, room, "%zx\r\n%s\r\n", strlen(text), text);
}

static void make_replies(void) {
    char text[768];
    token_length = chunked(token_chunk, sizeof token_chunk, TOKEN);
    snprintf(text, sizeof text,
             "data: {\"id\":\"truth\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"truth\",\"choices\":[{\"index\":0,"
             "\"delta\":{},\"finish_reason\":\"length\"}]}\n\n"
             "data: {\"id\":\"truth\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"truth\",\"choices\":[],"
             "\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":%d,\"total_tokens\":%d}}\n\ndata: [DONE]\n\n",
             token_count, token_count + 10);
    end_length = chunked(end_chunk, sizeof end_chunk, text);
    end_length += snprintf(end_chunk + end_length, sizeof end_chunk - end_length, "0\r\n\r\n");
    snprintf(text, sizeof text,
             "{\"id\":\"truth\",\"object\":\"chat.completion\",\"created\":1,\"model\":\"truth\",\"choices\":[{\"index\":0,\"message\":"
             "{\"role\":\"assistant\",\"content\":\"token\"},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":10,"
             "\"completion_tokens\":1,\"total_tokens\":11}}");
    whole_length = snprintf(whole_reply, sizeof whole_reply,
                            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s", strlen(text), text);
}

static void write_log(const char *path) {
    FILE *file = fopen(path, "w");
    if (!file) exit(2);
    for (size_t i = 0; i < log_size; i++) {
        fprintf(file, "%s %lld", log_entries[i].id, (long long)log_entries[i].received);
        for (int k = 0; k < log_entries[i].tokens; k++) fprintf(file, " %lld", (long long)log_entries[i].sent[k]);
        fputc('\n', file);
    }
    fclose(file);
}

static int listen_on_loopback(void) {
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    if (bind(listener, (struct sockaddr *)&address, length) || listen(listener, 4096)) exit(2);
    getsockname(listener, (struct sockaddr *)&address, &length);
    printf("port %d\n", ntohs(address.sin_port));
    fflush(stdout);
    return listener;
}

int main(int argc, char **argv) {
    const char *log_path = NULL, *certificate = NULL, *key = NULL;
    int64_t limit_ns = 120000000000;
    int awake = 0;
    for (int i = 1; i + 1 < argc; i += 2) {
        if (!strcmp(argv[i], "--ttft-us")) ttft_ns = atoll(argv[i + 1]) * 1000;
        else if (!strcmp(argv[i], "--itl-us")) itl_ns = atoll(argv[i + 1]) * 1000;
        else if (!strcmp(argv[i], "--tokens")) token_count = atoi(argv[i + 1]);
        else if (!strcmp(argv[i], "--log")) log_path = argv[i + 1];
        else if (!strcmp(argv[i], "--limit-seconds")) limit_ns = atoll(argv[i + 1]) * 1000000000;
        else if (!strcmp(argv[i], "--awake")) awake = atoi(argv[i + 1]); /* never sleep: who sends to us need not wake our core */
        else if (!strcmp(argv[i], "--cert")) certificate = argv[i + 1];
        else if (!strcmp(argv[i], "--key")) key = argv[i + 1];
    }
    if (!log_path || token_count < 1) return 2;
#ifdef TLS
    if (certificate && key) prepare_tls(certificate, key);
#else
    if (certificate || key) return 3;
#endif
    make_replies();
    epoll_fd = epoll_create1(0);
    int listener = listen_on_loopback();
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, events[256];
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &event);
    event.data.fd = STDIN_FILENO;
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, STDIN_FILENO, &event);
    for (int64_t end = monotonic() + limit_ns; monotonic() < end;) {
        int64_t wait = heap_size ? heap[0]->due - monotonic() : 100000000;
        if (wait < 0) wait = 0;
        if (wait > 100000000) wait = 100000000;
        if (awake) wait = 0;
        struct timespec timeout = {0, wait};
        int count = epoll_pwait2(epoll_fd, events, 256, &timeout, NULL);
        for (int i = 0; i < count; i++) {
            int fd = events[i].data.fd;
            char byte;
            if (fd == listener) accept_all(listener);
            else if (fd == STDIN_FILENO) {
                if (read(STDIN_FILENO, &byte, 1) <= 0) end = 0;
            } else if (streams[fd]) {
                if ((events[i].events & EPOLLOUT) && flush(streams[fd])) drop(streams[fd]);
                else if ((events[i].events & ~EPOLLOUT) && read_request(streams[fd])) drop(streams[fd]);
            }
        }
        while (heap_size && heap[0]->due <= monotonic())
            if (send_token(heap[0])) drop(heap[0]);
    }
    write_log(log_path);
    return 0;
}
