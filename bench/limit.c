/* The practical limit: a static program that does what any holder of a lock on several Redis servers has to do, and nothing
 * else. It connects to each server, asks each with one script call, starts the command, waits for it, and releases with one
 * script call each. It has no guard, no lease to extend, no fencing token of a quorum, and no care for failures, so it is no
 * lock for use: it shows how fast one could be.
 *
 * limit PORT,... RESOURCE COMMAND [ARG]...
 *
 * The servers are on 127.0.0.1. If another holds the lock, it waits in BLPOP on the first server: a release wakes one waiter,
 * however many there are. */

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MOST_NODES = 9, TTL_MS = 15000 };

static const char ACQUIRE[] = "if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then"
                              " return redis.call('INCR', KEYS[2]) end return 0";
/* With a third key, the release wakes one waiter. */
static const char RELEASE[] = "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end redis.call('DEL', KEYS[1])"
                              " if KEYS[3] then redis.call('LPUSH', KEYS[3], 1) redis.call('LTRIM', KEYS[3], 0, 0) end"
                              " return 1";

static int nodes[MOST_NODES], count;
static char value[33], lock_key[300], fence_key[300], wake_key[300];

static void fail(const char *what) {
    perror(what);
    exit(125);
}

static void connect_to(const char *ports) {
    for (char *end; *ports != '\0' && count < MOST_NODES; ports = *end == ',' ? end + 1 : end) {
        struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        int on = 1, node = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        at.sin_port = htons((unsigned short)strtoul(ports, &end, 10));
        if (end == ports || connect(node, (struct sockaddr *)&at, sizeof at) != 0)
            fail("connect");
        setsockopt(node, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        nodes[count++] = node;
    }
}

static void send_to(int node, int words, const char *word[]) {
    char request[2048];
    int length = snprintf(request, sizeof request, "*%d\r\n", words);
    for (int i = 0; i < words; i++)
        length += snprintf(request + length, sizeof request - (size_t)length, "$%zu\r\n%s\r\n", strlen(word[i]), word[i]);
    if (write(node, request, (size_t)length) != length)
        fail("write");
}

/* Every answer fits one packet. */
static void receive(int node, char answer[static 256]) {
    ssize_t length = read(node, answer, 255);
    if (length <= 0 || *answer == '-')
        fail("read");
    answer[length] = '\0';
}

static int acquire(void) {
    char ttl[12], answer[256];
    int votes = 0;
    snprintf(ttl, sizeof ttl, "%d", TTL_MS);
    for (int i = 0; i < count; i++)
        send_to(nodes[i], 7, (const char *[]){ "EVAL", ACQUIRE, "2", lock_key, fence_key, value, ttl });
    for (int i = 0; i < count; i++) {
        receive(nodes[i], answer);
        votes += strcmp(answer, ":0\r\n") != 0;
    }
    return votes > count / 2;
}

static void release(int wakes) {
    char answer[256];
    for (int i = 0; i < count; i++) {
        const char *waking[] = { "EVAL", RELEASE, "3", lock_key, fence_key, wake_key, value };
        const char *silent[] = { "EVAL", RELEASE, "2", lock_key, fence_key, value };
        wakes && i == 0 ? send_to(nodes[i], 7, waking) : send_to(nodes[i], 6, silent);
    }
    for (int i = 0; i < count; i++)
        receive(nodes[i], answer);
}

static int run(char *command[]) {
    int status;
    pid_t child = vfork();
    if (child == 0) {
        execvp(command[0], command);
        _exit(127);
    }
    if (child < 0 || waitpid(child, &status, 0) != child)
        fail("command");
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int main(int argc, char *argv[]) {
    unsigned char bytes[16];
    char answer[256];
    if (argc < 4 || getrandom(bytes, sizeof bytes, 0) != sizeof bytes)
        return 64;
    for (size_t i = 0; i < sizeof bytes; i++)
        snprintf(value + 2 * i, 3, "%02x", bytes[i]);
    snprintf(lock_key, sizeof lock_key, "limit:%s", argv[2]);
    snprintf(fence_key, sizeof fence_key, "limit:%s:fence", argv[2]);
    snprintf(wake_key, sizeof wake_key, "limit:%s:wake", argv[2]);
    connect_to(argv[1]);
    while (!acquire()) {
        release(0);
        /* In time to try again where a race was lost by all. */
        send_to(nodes[0], 3, (const char *[]){ "BLPOP", wake_key, "1" });
        receive(nodes[0], answer);
    }
    int status = run(argv + 3);
    release(1);
    return status;
}
