/* Passes numbers round a ring of ranks; each adds to them, and rank 0 checks the sums.
 *
 *   mpicc ring.c -o ring && mpirun -np 4 ./ring [ROUNDS]
 *
 * Ordinary MPI: nothing in here knows of paths. */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>

enum { COUNT = 1 << 18 }; /* 1 MB of numbers */

int main(int argc, char **argv)
{
    MPI_Init(&argc, &argv);
    int rank, size;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    int rounds = argc > 1 ? atoi(argv[1]) : 16;
    int *numbers = malloc(COUNT * sizeof *numbers);
    if (rounds < 1 || size < 2 || numbers == NULL) {
        fprintf(stderr, "ring: want 1 or more rounds, 2 or more ranks, 1 MB: got %d and %d\n", rounds, size);
        MPI_Abort(MPI_COMM_WORLD, 1);
    }
    for (int i = 0; i < COUNT; i++)
        numbers[i] = i;
    int next = (rank + 1) % size, before = (rank + size - 1) % size;
    for (int round = 0; round < rounds; round++) {
        if (rank > 0)
            MPI_Recv(numbers, COUNT, MPI_INT, before, round, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
        for (int i = 0; i < COUNT; i++)
            numbers[i] += rank + 1;
        MPI_Send(numbers, COUNT, MPI_INT, next, round, MPI_COMM_WORLD);
        if (rank == 0)
            MPI_Recv(numbers, COUNT, MPI_INT, before, round, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    }
    int added = rounds * size * (size + 1) / 2, wrong = 0;
    if (rank == 0) {
        for (int i = 0; i < COUNT; i++)
            wrong += numbers[i] != i + added;
        printf("ring of %d ranks, %d rounds of %zu bytes: %d wrong\n", size, rounds, COUNT * sizeof *numbers, wrong);
    }
    free(numbers);
    MPI_Finalize();
    return wrong > 0;
}
