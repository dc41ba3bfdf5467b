/* A receiver that is never the bottleneck: it reads bodies and forgets them, one thread for each
 * connection, plain on one port and over TLS on the other, and answers in the document's envelope.
 *
 *     cc -O2 -o sink sink.c -lssl -lcrypto -pthread
 *     ./sink CERTIFICATE KEY [FILES IN CONVERSION]
 *
 * It prints both ports. What is uploaded (u1, u2 and so on) is converted by the time it is asked
 * for; the files in conversion are h1, h2 and so on. GET /requests says how many requests came.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HEAD (64 << 10)
#define PIECE (1 << 20)

static SSL_CTX *tls;
static int ports[2];
static long in_conversion;
static atomic_long requests, uploads;

struct peer { int fd; SSL *ssl; char *buffer; long have; };
struct listener { int fd; int secure; };

static long receive(struct peer *p, char *into, long most) {
    return p->ssl ? SSL_read(p->ssl, into, (int)most) : read(p->fd, into, most);
}

static void say(struct peer *p, const char *data, long size) {
    while (size > 0) {
        long done = p->ssl ? SSL_write(p->ssl, data, (int)size) : write(p->fd, data, size);
        if (done <= 0) return;
        data += done;
        size -= done;
    }
}

static void answer(struct peer *p, const char *result, long size) {
    const char *before = "{\"status\":\"success\",\"message\":\"OK\",\"result\":";
    char head[256];
    int n = snprintf(head, sizeof head,
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %ld\r\n\r\n%s",
        (long)strlen(before) + size + 1, before);
    char *all = malloc(n + size + 1);
    memcpy(all, head, n);
    memcpy(all + n, result, size);
    all[n + size] = '}';
    say(p, all, n + size + 1);
    free(all);
}

static void answerf(struct peer *p, const char *format, ...) {
    char text[2048];
    va_list values;
    va_start(values, format);
    int n = vsnprintf(text, sizeof text, format, values);
    va_end(values);
    answer(p, text, n);
}

static const char *REMOTE = "{\"hashid\":\"%s\",\"name\":\"video\",\"type\":\"video\",\"size\":%ld,"
    "\"views\":0,\"poster\":null,\"status\":\"%s\",\"created_at\":\"2030-01-01T00:00:00.000000Z\"}";

static void answer_list(struct peer *p, const char *target) {
    const char *kind = "h", *status = "converting";
    long most = strstr(target, "status=converting") ? in_conversion : 0;
    if (strstr(target, "status=converted")) {
        kind = "u";
        status = "converted";
        most = atomic_load(&uploads);
    }
    char *text = malloc(256 * (most + 1)), *end = text;
    *end++ = '[';
    for (long n = 1; n <= most; n++) {
        char hashid[32];
        snprintf(hashid, sizeof hashid, "%s%ld", kind, n);
        if (n > 1) *end++ = ',';
        end += sprintf(end, REMOTE, hashid, 1000L, status);
    }
    *end++ = ']';
    answer(p, text, end - text);
    free(text);
}

static void answer_get(struct peer *p, const char *target) {
    const char *path = strstr(target, "/file/get/");
    char hashid[64] = "";
    if (path) sscanf(path, "/file/get/%63[A-Za-z0-9]", hashid);
    if (strstr(target, "/upload/generate"))
        answerf(p, "\"%s://127.0.0.1:%d/up/%ld\"", getenv("SINK_TLS") ? "https" : "http",
            ports[getenv("SINK_TLS") != NULL], atomic_load(&requests));
    else if (strstr(target, "/requests"))
        answerf(p, "%ld", atomic_load(&requests));
    else if (strstr(target, "/mirror/get/"))
        answerf(p, "[{\"title\":\"source\",\"size\":1,\"mirrors\":[{\"driver\":\"ok\","
            "\"iframe\":\"//ok.example/1\",\"link\":null,\"uploaded_at\":\"2030-01-01 00:00:00\","
            "\"checked_at\":null}]}]");
    else if (strstr(target, "/direct"))
        answerf(p, "[{\"label\":\"source\",\"size\":1,\"stream\":\"https://cdn.example/1\","
            "\"download\":\"https://cdn.example/1?dl=1\","
            "\"expires_at\":\"2099-01-01T00:00:00.000000Z\"}]");
    else if (hashid[0])
        answerf(p, REMOTE, hashid, 1000L, "converted");
    else
        answer_list(p, target);
}

/* Read the rest of a body of this length; return the size of the file in it. */
static long read_body(struct peer *p, const char *head, long length) {
    char boundary[128] = "";
    const char *mark = strcasestr(head, "boundary=");
    if (mark) sscanf(mark, "boundary=%127[^\r\n;]", boundary);
    long at = 0, size = -1, kept = 0;
    char *first = malloc(HEAD + 1);
    while (at < length) {
        long n;
        char *piece = p->buffer;
        if (p->have) {
            n = p->have < length ? p->have : length;
        } else if ((n = receive(p, piece, length - at < PIECE ? length - at : PIECE)) <= 0) {
            break;
        }
        if (size < 0 && kept < HEAD) {
            long more = n < HEAD - kept ? n : HEAD - kept;
            memcpy(first + kept, piece, more);
            first[kept += more] = 0;
            char *name = memmem(first, kept, "filename=\"", 10);
            char *end = name ? memmem(name, kept - (name - first), "\r\n\r\n", 4) : NULL;
            if (end) size = length - (end + 4 - first) - (long)strlen(boundary) - 8;
        }
        at += n;
        if (p->have) memmove(p->buffer, p->buffer + n, p->have -= n);
    }
    free(first);
    return at == length ? size : -1;
}

static void *serve(void *given) {
    struct peer *p = given;
    char *head = malloc(HEAD + 1);
    if (p->ssl && SSL_accept(p->ssl) <= 0) goto end;
    for (;;) {
        char *over;
        while (!(over = memmem(p->buffer, p->have, "\r\n\r\n", 4))) {
            long n = p->have < HEAD ? receive(p, p->buffer + p->have, HEAD - p->have) : 0;
            if (n <= 0) goto end;
            p->have += n;
        }
        long size = over + 4 - p->buffer;
        memcpy(head, p->buffer, size);
        head[size] = 0;
        memmove(p->buffer, p->buffer + size, p->have -= size);
        char target[4096] = "";
        sscanf(head, "%*s %4095s", target);
        if (!strstr(target, "/requests")) atomic_fetch_add(&requests, 1);
        if (strncmp(head, "POST", 4)) {
            answer_get(p, target);
            continue;
        }
        char *length = strcasestr(head, "content-length:");
        if (strcasestr(head, "100-continue")) say(p, "HTTP/1.1 100 Continue\r\n\r\n", 25);
        long bytes = read_body(p, head, length ? atol(length + 15) : 0);
        answerf(p, "{\"hashid\":\"u%ld\",\"folder\":null,\"name\":\"video\",\"ext\":\"mp4\","
            "\"mimeType\":\"video/mp4\",\"size\":%ld,\"status\":\"converting\","
            "\"uploaded_at\":\"2030-01-01T00:00:00.000000Z\"}",
            atomic_fetch_add(&uploads, 1) + 1, bytes);
    }
end:
    if (p->ssl) SSL_free(p->ssl);
    close(p->fd);
    free(head);
    free(p->buffer);
    free(p);
    return NULL;
}

static void *accept_all(void *given) {
    struct listener *l = given;
    for (;;) {
        int fd = accept(l->fd, NULL, NULL), one = 1;
        if (fd < 0) continue;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        struct peer *p = calloc(1, sizeof *p);
        p->fd = fd;
        p->buffer = malloc(PIECE + HEAD);
        if (l->secure) {
            p->ssl = SSL_new(tls);
            SSL_set_fd(p->ssl, fd);
        }
        pthread_t thread;
        if (pthread_create(&thread, NULL, serve, p)) abort();
        pthread_detach(thread);
    }
}

int main(int count, char **values) {
    if (count < 3) return 2;
    signal(SIGPIPE, SIG_IGN);
    in_conversion = count > 3 ? atol(values[3]) : 0;
    tls = SSL_CTX_new(TLS_server_method());
    if (SSL_CTX_use_certificate_chain_file(tls, values[1]) != 1) return 2;
    if (SSL_CTX_use_PrivateKey_file(tls, values[2], SSL_FILETYPE_PEM) != 1) return 2;
    struct listener listeners[2];
    pthread_t threads[2];
    for (int n = 0; n < 2; n++) {
        struct sockaddr_in address = {.sin_family = AF_INET};
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t size = sizeof address;
        listeners[n] = (struct listener){socket(AF_INET, SOCK_STREAM, 0), n};
        if (bind(listeners[n].fd, (struct sockaddr *)&address, size)) return 1;
        if (listen(listeners[n].fd, 128)) return 1;
        getsockname(listeners[n].fd, (struct sockaddr *)&address, &size);
        ports[n] = ntohs(address.sin_port);
    }
    printf("%d %d\n", ports[0], ports[1]);
    fflush(stdout);
    for (int n = 0; n < 2; n++) pthread_create(&threads[n], NULL, accept_all, &listeners[n]);
    for (int n = 0; n < 2; n++) pthread_join(threads[n], NULL);
    return 0;
}
