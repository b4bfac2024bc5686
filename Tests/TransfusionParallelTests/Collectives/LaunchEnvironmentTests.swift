import Testing
import TransfusionParallel

@Suite struct LaunchEnvironmentTests {
    @Test func aPlainStartHasNoLauncher() {
        let launch = LaunchEnvironment(environment: ["HOME": "/root"])
        #expect(launch.launcher == nil && launch.ranks == 1)
        #expect(launch.problem(actual: 1, expected: nil) == nil)
        #expect(launch.problem(actual: 1, expected: 1) == nil)
        #expect(launch.problem(actual: 1, expected: 4)?.contains("mpirun -n 4") == true)
    }

    @Test func mpirunInsideAJobCountsMoreThanTheJob() {
        let launch = LaunchEnvironment(environment: [
            "OMPI_COMM_WORLD_SIZE": "2", "SLURM_NTASKS": "8", "OMPI_COMM_WORLD_RANK": "1", "SLURM_PROCID": "5",
        ])
        #expect(launch.rank == 1)
        #expect(LaunchEnvironment(environment: ["SLURM_NTASKS": "8", "SLURM_PROCID": "5"]).rank == 5)
        #expect(launch.launcher == "mpirun" && launch.ranks == 2)
        #expect(launch.problem(actual: 2, expected: nil) == nil)
    }

    @Test(arguments: ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_NTASKS", "MV2_COMM_WORLD_SIZE"])
    func silentSingletonsAreRefused(_ variable: String) {
        let launch = LaunchEnvironment(environment: [variable: "4"])
        let problem = launch.problem(actual: 1, expected: nil)
        #expect(problem?.contains("4 ranks") == true)
        #expect(launch.problem(actual: 4, expected: nil) == nil)
        #expect(LaunchEnvironment(environment: [variable: "1"]).problem(actual: 1, expected: nil) == nil)
    }

    @Test func theUsersWordCountsMost() {
        let launch = LaunchEnvironment(environment: ["SLURM_NTASKS": "4"])
        #expect(launch.problem(actual: 1, expected: 1) == nil)
        #expect(launch.problem(actual: 4, expected: 2)?.contains("2 ranks were expected, but MPI sees 4") == true)
    }

    @Test func nonsenseIsNoLauncher() {
        let launch = LaunchEnvironment(environment: ["OMPI_COMM_WORLD_SIZE": "many", "SLURM_NTASKS": "-3"])
        #expect(launch.launcher == nil && launch.ranks == 1)
    }
}
