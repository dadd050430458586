import io.fabric8.kubernetes.api.model.ConfigMap;
import io.fabric8.kubernetes.client.KubernetesClient;
import io.fabric8.kubernetes.client.KubernetesClientBuilder;
import io.fabric8.kubernetes.client.Watcher;
import io.fabric8.kubernetes.client.WatcherException;
import java.io.ByteArrayOutputStream;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;

/** Lists, watches and runs a command; lists again when the first token has expired. */
public class Main {
    public static void main(String[] arguments) throws Exception {
        try (KubernetesClient client = new KubernetesClientBuilder().build()) {
            client.pods().list().getItems().forEach(pod -> System.out.println(pod.getMetadata().getName()));

            CountDownLatch changed = new CountDownLatch(1);
            Watcher<ConfigMap> watcher = new Watcher<>() {
                public void eventReceived(Action action, ConfigMap map) {
                    if (action == Action.MODIFIED) {
                        changed.countDown();
                    }
                }

                public void onClose(WatcherException cause) {
                    cause.printStackTrace();
                }
            };
            try (var watch = client.configMaps().watch(watcher)) {
                must(changed.await(60, TimeUnit.SECONDS), "no change was seen");
            }
            must(exec(client, "hello").equals("hello\n"), "the command's output");

            System.out.println("wait");
            System.in.read();
            must(client.pods().list().getItems().size() == 1, "the pods");
            must(exec(client, "again").equals("again\n"), "the command's output");
        }
    }

    private static String exec(KubernetesClient client, String word) throws Exception {
        var output = new ByteArrayOutputStream();
        try (var command = client.pods().withName("web").writingOutput(output).exec("echo", word)) {
            command.exitCode().get(60, TimeUnit.SECONDS);
        }
        return output.toString();
    }

    private static void must(boolean good, String what) {
        if (!good) {
            throw new IllegalStateException(what);
        }
    }
}
