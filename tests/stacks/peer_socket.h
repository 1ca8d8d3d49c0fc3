// The sockets of the peers that are written in C.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

static struct sockaddr_in at(const char *port) {
    struct sockaddr_in address;
    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_port = htons((unsigned short)atoi(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

/// The first who calls, once the port is told.
static int accepted(void) {
    struct sockaddr_in address = at("0");
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(listener, (struct sockaddr *)&address, size) || listen(listener, 5)) return -1;
    getsockname(listener, (struct sockaddr *)&address, &size);
    printf("port %d\n", ntohs(address.sin_port));
    fflush(stdout);
    return accept(listener, NULL, NULL);
}

static int dialled(const char *port) {
    struct sockaddr_in address = at(port);
    int connection = socket(AF_INET, SOCK_STREAM, 0);
    return connect(connection, (struct sockaddr *)&address, sizeof address) ? -1 : connection;
}

/// From now on nobody waits for more than half a second.
static void patience(int connection) {
    struct timeval patience = {0, 500000};
    setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
}
