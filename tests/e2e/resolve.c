/* Looks names up as every program does, and tells each with its addresses or its error. */
#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

int main(int count, char **names) {
    for (int i = 1; i < count; i++) {
        struct addrinfo hints, *found = NULL;
        memset(&hints, 0, sizeof hints);
        hints.ai_family = AF_UNSPEC;
        hints.ai_socktype = SOCK_STREAM;
        int error = getaddrinfo(names[i], NULL, &hints, &found);
        printf("%s", names[i]);
        if (error != 0) {
            printf(" %s\n", error == EAI_NONAME ? "no such name" : gai_strerror(error));
            continue;
        }
        for (struct addrinfo *one = found; one != NULL; one = one->ai_next) {
            char text[INET6_ADDRSTRLEN];
            void *address = one->ai_family == AF_INET
                ? (void *)&((struct sockaddr_in *)one->ai_addr)->sin_addr
                : (void *)&((struct sockaddr_in6 *)one->ai_addr)->sin6_addr;
            printf(" %s", inet_ntop(one->ai_family, address, text, sizeof text));
        }
        printf("\n");
        freeaddrinfo(found);
    }
    return 0;
}
