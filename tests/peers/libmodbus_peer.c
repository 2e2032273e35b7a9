/* libmodbus as client and server, for the interop suite and the benches.
 *
 *   libmodbus_peer scan tcp HOST PORT UNIT SECONDS   reads ten holding registers from 0 on, as fast as it can
 *   libmodbus_peer read tcp HOST PORT UNIT FUNCTION ADDRESS COUNT
 *   libmodbus_peer read rtu DEVICE BAUD UNIT FUNCTION ADDRESS COUNT
 *   libmodbus_peer write tcp HOST PORT UNIT ADDRESS WORD...      function 16
 *   libmodbus_peer coil tcp HOST PORT UNIT ADDRESS 0|1           function 5
 *   libmodbus_peer serve tcp UNIT ADDRESS=FLOAT...               input registers, any free port
 *   libmodbus_peer serve rtu DEVICE BAUD UNIT ADDRESS=FLOAT...
 *
 * Each prints one line of JSON. A server prints {"ready": true, ...}, obeys
 * `set ADDRESS=FLOAT` on standard input, and leaves when that closes.
 */
#include <errno.h>
#include <modbus.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { REGISTERS = 0x200, SCAN_REGISTERS = 10, REQUESTS_MAX = 4000000 };

static void fail(const char *what) {
    printf("{\"error\": \"%s: %s\"}\n", what, modbus_strerror(errno));
    exit(1);
}

static double now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e6 + t.tv_nsec * 1e-3;
}

static modbus_t *open_client(char ***arguments) {
    char **a = *arguments;
    modbus_t *link;
    int unit;
    if (strcmp(a[0], "tcp") == 0) {
        link = modbus_new_tcp(a[1], atoi(a[2]));
        unit = atoi(a[3]);
        *arguments = a + 4;
    } else {
        link = modbus_new_rtu(a[1], atoi(a[2]), 'N', 8, 1);
        unit = atoi(a[3]);
        *arguments = a + 4;
    }
    if (link == NULL || modbus_set_slave(link, unit) != 0 || modbus_connect(link) != 0)
        fail("connect");
    return link;
}

static int ascending(const void *a, const void *b) {
    double d = *(const double *)a - *(const double *)b;
    return (d > 0) - (d < 0);
}

static void scan(char **a) {
    modbus_t *link = open_client(&a);
    double *took = malloc(sizeof *took * REQUESTS_MAX);
    uint16_t words[SCAN_REGISTERS];
    size_t n = 0, errors = 0;
    double begin = now_us(), end = begin + atof(a[0]) * 1e6, before = begin;
    if (took == NULL)
        fail("memory");
    while (before < end && n < REQUESTS_MAX) {
        int got = modbus_read_registers(link, 0, SCAN_REGISTERS, words);
        double after = now_us();
        if (got != SCAN_REGISTERS && ++errors > 100)
            fail("read");
        took[n++] = after - before;
        before = after;
    }
    qsort(took, n, sizeof *took, ascending);
    printf("{\"requests\": %zu, \"errors\": %zu, \"seconds\": %.6f, \"p50_us\": %.1f, \"p99_us\": %.1f, "
           "\"p999_us\": %.1f, \"max_us\": %.1f}\n",
           n, errors, (before - begin) * 1e-6, took[n / 2], took[n * 99 / 100], took[n * 999 / 1000], took[n - 1]);
}

static void read_words(char **a) {
    modbus_t *link = open_client(&a);
    int function = atoi(a[0]), address = strtol(a[1], NULL, 0), count = atoi(a[2]), got = -1;
    uint16_t words[MODBUS_MAX_READ_REGISTERS];
    uint8_t bits[MODBUS_MAX_READ_BITS];
    switch (function) {
    case 1: got = modbus_read_bits(link, address, count, bits); break;
    case 2: got = modbus_read_input_bits(link, address, count, bits); break;
    case 3: got = modbus_read_registers(link, address, count, words); break;
    case 4: got = modbus_read_input_registers(link, address, count, words); break;
    default: errno = EINVAL;
    }
    if (got < 0)
        fail("read");
    printf("{\"words\": [");
    for (int i = 0; i < got; i++)
        printf("%s%u", i ? ", " : "", function < 3 ? bits[i] : words[i]);
    printf("]}\n");
}

static void write_words(char **a, int count) {
    modbus_t *link = open_client(&a);
    uint16_t words[MODBUS_MAX_WRITE_REGISTERS];
    int address = strtol(a[0], NULL, 0);
    for (int i = 0; i < count; i++)
        words[i] = (uint16_t)strtol(a[1 + i], NULL, 0);
    if (modbus_write_registers(link, address, count, words) != count)
        fail("write");
    printf("{\"written\": %d}\n", count);
}

static void write_coil(char **a) {
    modbus_t *link = open_client(&a);
    if (modbus_write_bit(link, strtol(a[0], NULL, 0), atoi(a[1])) != 1)
        fail("write");
    printf("{\"written\": 1}\n");
}

static modbus_mapping_t *mapping;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void set(const char *text) {
    char *value;
    long address = strtol(text, &value, 0);
    if (*value != '=' || address < 0 || address + 1 >= REGISTERS)
        return;
    /* By hand, high word first: modbus_set_float_abcd of 3.1.6 swaps the bytes of each word. */
    float number = strtof(value + 1, NULL);
    uint32_t bits;
    memcpy(&bits, &number, sizeof bits);
    pthread_mutex_lock(&lock);
    mapping->tab_input_registers[address] = mapping->tab_registers[address] = bits >> 16;
    mapping->tab_input_registers[address + 1] = mapping->tab_registers[address + 1] = bits & 0xffff;
    pthread_mutex_unlock(&lock);
}

static void *obey(void *ignored) {
    char line[200];
    while (fgets(line, sizeof line, stdin) != NULL) {
        if (strncmp(line, "set ", 4) == 0)
            set(line + 4);
        printf("{\"done\": true}\n");
        fflush(stdout);
    }
    _exit(0);
    return ignored;
}

static void serve(char **a, int count) {
    int is_tcp = strcmp(a[0], "tcp") == 0, listener = -1, port = 0;
    int unit = atoi(is_tcp ? a[1] : a[3]), first = is_tcp ? 2 : 4;
    modbus_t *link = is_tcp ? modbus_new_tcp("127.0.0.1", 0) : modbus_new_rtu(a[1], atoi(a[2]), 'N', 8, 1);
    mapping = modbus_mapping_new(REGISTERS, REGISTERS, REGISTERS, REGISTERS);
    if (link == NULL || mapping == NULL || modbus_set_slave(link, unit) != 0)
        fail("serve");
    for (int i = first; i < count; i++)
        set(a[i]);
    if (is_tcp) {
        struct sockaddr_in address;
        socklen_t length = sizeof address;
        listener = modbus_tcp_listen(link, 1);
        if (listener < 0 || getsockname(listener, (struct sockaddr *)&address, &length) != 0)
            fail("listen");
        port = ntohs(address.sin_port);
    } else if (modbus_connect(link) != 0) {
        fail("open");
    }
    pthread_t commands;
    pthread_create(&commands, NULL, obey, NULL);
    printf("{\"ready\": true, \"port\": %d}\n", port);
    fflush(stdout);
    uint8_t query[MODBUS_TCP_MAX_ADU_LENGTH];
    for (;;) {
        if (is_tcp && modbus_tcp_accept(link, &listener) < 0)
            fail("accept");
        for (;;) {
            int length = modbus_receive(link, query);
            if (length < 0 && (is_tcp || errno == EIO || errno == EBADF))
                break;
            if (length > 0) {
                pthread_mutex_lock(&lock);
                modbus_reply(link, query, length, mapping);
                pthread_mutex_unlock(&lock);
            }
        }
        if (!is_tcp)
            fail("line");
        modbus_close(link);
    }
}

int main(int count, char **a) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (count >= 7 && strcmp(a[1], "scan") == 0)
        scan(a + 2);
    else if (count >= 9 && strcmp(a[1], "read") == 0)
        read_words(a + 2);
    else if (count >= 8 && strcmp(a[1], "write") == 0)
        write_words(a + 2, count - 7);
    else if (count == 8 && strcmp(a[1], "coil") == 0)
        write_coil(a + 2);
    else if (count >= 4 && strcmp(a[1], "serve") == 0)
        serve(a + 2, count - 2);
    else {
        fprintf(stderr, "libmodbus_peer: see the head of libmodbus_peer.c\n");
        return 2;
    }
    return 0;
}
